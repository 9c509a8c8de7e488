package main

import (
	"context"
	"log"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type rpc[Q, A any] func(context.Context, Q, ...grpc.CallOption) (A, error)

// insist calls until the server answers or ctx is done. For calls that may be repeated; each is made at least once.
func insist[Q, A any](ctx context.Context, call rpc[Q, A], request Q) (A, error) {
	for tries := 0; ; tries++ {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		answer, err := call(once, request)
		cancel()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return answer, err
		}
		if tries == 0 {
			log.Printf("%T is tried again: %v", request, err)
		}
		backoff(ctx, tries)
	}
}

// passing tells that the server is away, or slow: another try may succeed.
func passing(err error) bool {
	return status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded
}

// lost tells that the lease is lost (the only FAILED_PRECONDITION of WorkerService): nothing more is accepted from this
// attempt.
func lost(err error) bool { return status.Code(err) == codes.FailedPrecondition }

// backoff waits 0.1 s, 0.2 s, … up to 5 s, less up to half; not at all once ctx is done.
func backoff(ctx context.Context, tries int) {
	most := min(5*time.Second, 100*time.Millisecond<<min(tries, 10))
	select {
	case <-time.After(most - rand.N(most/2)):
	case <-ctx.Done():
	}
}

// Command worker executes the runs of one graph: it claims them from the server, commits their steps, and stops when
// told to. SIGTERM hands back what runs.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "doubletext.example/client/gen/doubletext/v1"
	"doubletext.example/client/internal/connect"
)

type worker struct {
	pb.WorkerServiceClient
	id, graph string
}

func main() {
	log.SetFlags(0)
	server := flag.String("server", connect.DefaultAddress(), "HOST:PORT of the server")
	graph := flag.String("graph", "countdown", "the graph whose runs to claim, and the assistant made for it")
	slots := flag.Int("slots", 4, "how many runs to execute at once")
	flag.Parse()
	closing, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(closing, cancel) // a second signal kills

	conn, err := connect.To(*server)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	hostname, _ := os.Hostname()
	w := &worker{pb.NewWorkerServiceClient(conn), fmt.Sprintf("%s-%d", hostname, os.Getpid()), *graph}

	assistant := &pb.CreateAssistantRequest{AssistantId: graph, Graph: *graph}
	_, err = insist(closing, pb.NewAssistantServiceClient(conn).CreateAssistant, assistant)
	if closing.Err() != nil {
		return
	}
	if err != nil && status.Code(err) != codes.AlreadyExists {
		log.Fatal(err)
	}
	fmt.Printf("ready: %s serves %s for %s\n", w.id, w.graph, *server)
	var all sync.WaitGroup
	for range *slots {
		all.Go(func() { w.serve(closing) })
	}
	all.Wait()
}

// serve claims and executes one run after another until closing is done.
func (w *worker) serve(closing context.Context) {
	claim := &pb.ClaimRunRequest{WorkerId: w.id, Graphs: []string{w.graph}, Wait: durationpb.New(20 * time.Second)}
	for tries := 0; closing.Err() == nil; {
		ctx, cancel := context.WithTimeout(closing, 30*time.Second)
		claimed, err := w.ClaimRun(ctx, claim)
		cancel()
		switch {
		case err == nil && claimed.Assignment != nil:
			w.execute(closing, claimed.Assignment)
			fallthrough
		case err == nil:
			tries = 0
		case closing.Err() == nil:
			log.Printf("cannot claim: %v", err)
			backoff(closing, tries)
			tries++
		}
	}
}

func (w *worker) execute(closing context.Context, assignment *pb.Assignment) {
	run, lease, step := assignment.Run.RunId, assignment.Lease, assignment.Run.LastStep
	log.Printf("%s claimed, attempt %d", run, assignment.Run.Attempt)
	ctx, stop := context.WithCancelCause(closing)
	defer stop(nil)
	steers := &offers{}
	go w.watch(ctx, lease, stop, steers)

	err := countdown(ctx, assignment, func(update map[string]any) ([]*structpb.Struct, error) {
		values, err := structpb.NewStruct(update)
		if err != nil || ctx.Err() != nil {
			return nil, errors.Join(err, context.Cause(ctx))
		}
		// With its number, a step whose answer was lost can be sent again without being made twice.
		expected := proto.Int64(step + 1)
		request := &pb.CommitStepRequest{Lease: lease, Update: values, ExpectedStep: expected, Absorb: steers.take()}
		made, err := insist(ctx, w.CommitStep, request)
		if err != nil {
			return nil, err
		}
		step = made.Step
		log.Printf("%s step %d", run, step)
		var said []*structpb.Struct
		for _, steer := range made.Absorbed {
			said = append(said, steer.Input)
		}
		return said, nil
	})
	switch {
	case ctx.Err() != nil || lost(err):
		// Acknowledges the stop, so that the run's successor may start; or hands the run back, when the worker is to end.
		log.Printf("%s stopped: %v", run, cmp.Or(context.Cause(ctx), err))
		_, err = insist(closing, w.ReleaseRun, &pb.ReleaseRunRequest{Lease: lease})
	case err != nil:
		log.Printf("%s failed: %v", run, err)
		failure := &pb.FinishRunRequest_Error{Error: &pb.RunError{Type: "Error", Message: err.Error()}}
		_, err = insist(closing, w.FinishRun, &pb.FinishRunRequest{Lease: lease, Outcome: failure})
	default:
		success := &pb.FinishRunRequest_Success{Success: &pb.Success{}}
		if _, err = insist(closing, w.FinishRun, &pb.FinishRunRequest{Lease: lease, Outcome: success}); err == nil {
			log.Printf("%s finished", run)
		}
	}
	if err != nil {
		log.Printf("%s: %v", run, err)
	}
}

// offers are the runs that steer another one, and that it has not taken yet.
type offers struct {
	sync.Mutex
	runs []string
}

func (o *offers) add(run string) {
	o.Lock()
	defer o.Unlock()
	o.runs = append(o.runs, run)
}

func (o *offers) take() []string {
	o.Lock()
	defer o.Unlock()
	taken := o.runs
	o.runs = nil
	return taken
}

// watch keeps the lease alive and calls stop when the run is to stop, or the lease is lost. It notes which runs steer it.
func (w *worker) watch(ctx context.Context, lease *pb.Lease, stop context.CancelCauseFunc, steers *offers) {
	for tries := 0; ctx.Err() == nil; tries++ {
		stream, err := w.WatchLease(ctx, &pb.WatchLeaseRequest{Lease: lease})
		for err == nil {
			var told *pb.WatchLeaseResponse
			if told, err = stream.Recv(); err == nil && told.Stop != nil {
				stop(errors.New(told.Stop.Reason))
			}
			if err == nil && told.Steer != nil {
				steers.add(told.Steer.RunId)
			}
		}
		if !passing(err) {
			stop(err)
		}
		backoff(ctx, tries)
	}
}

// Package client calls through what is generated for Go.
package client

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	pb "doubletext.example/client/gen/go/doubletext/v1"
)

var busy = strings.TrimPrefix(pb.ErrorReason_ERROR_REASON_THREAD_BUSY.String(), "ERROR_REASON_")

func create(ctx context.Context, to grpc.ClientConnInterface) (string, error) {
	created, err := pb.NewRunServiceClient(to).CreateRun(ctx, &pb.CreateRunRequest{ThreadId: "t", AssistantId: "agent"})
	return created.GetRun().GetRunId(), err
}

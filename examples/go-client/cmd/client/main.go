// Command client says something on a thread, waits for the run that answers it, and prints how it ended.
//
//	client -assistant agent "what is the weather in sf?"
//	client -thread 0199… -strategy interrupt "what is the weather in nyc?"
//
// It exits 0 when the run succeeded, 1 when it ended in another way or was refused.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	pb "doubletext.example/client/gen/doubletext/v1"
	"doubletext.example/client/internal/connect"
)

var (
	server    = flag.String("server", connect.DefaultAddress(), "HOST:PORT of the server")
	thread    = flag.String("thread", "", "the thread; a new one unless given")
	assistant = flag.String("assistant", "agent", "the assistant that answers")
	strategy  = flag.String("strategy", "", "reject, interrupt, rollback or enqueue; the thread's unless given")
	more      = flag.String("input", "{}", "JSON object to put into the input beside the message")
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: client [flags] MESSAGE")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := say(ctx, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, explain(err))
		os.Exit(1)
	}
}

func say(ctx context.Context, text string) error {
	input, err := inputOf(text)
	if err != nil {
		return err
	}
	applied, err := strategyOf(*strategy)
	if err != nil {
		return err
	}
	conn, err := connect.To(*server)
	if err != nil {
		return err
	}
	defer conn.Close()

	if *thread == "" {
		created, err := pb.NewThreadServiceClient(conn).CreateThread(ctx, &pb.CreateThreadRequest{})
		if err != nil {
			return err
		}
		*thread = created.Thread.ThreadId
	}
	runs := pb.NewRunServiceClient(conn)
	request := &pb.CreateRunRequest{
		ThreadId:          *thread,
		AssistantId:       *assistant,
		Input:             input,
		MultitaskStrategy: applied,
		IfThreadNotExists: pb.IfThreadNotExists_IF_THREAD_NOT_EXISTS_CREATE,
		RequestId:         proto.String(rand.Text()), // names this call: CreateRun is safe to retry
	}
	created, err := runs.CreateRun(ctx, request)
	if err != nil {
		return err
	}
	fmt.Printf("run %s on thread %s\n", created.Run.RunId, *thread)
	for _, run := range created.Superseded {
		fmt.Printf("supersedes %s, now %s\n", run.RunId, nameOf(run.Status))
	}
	return join(ctx, runs, created.Run)
}

// join waits for the run's end, however long that takes, and prints it.
func join(ctx context.Context, runs pb.RunServiceClient, run *pb.Run) error {
	joined, err := runs.JoinRun(ctx, &pb.JoinRunRequest{ThreadId: run.ThreadId, RunId: run.RunId})
	if err != nil {
		return err
	}
	switch run = joined.Run; run.Status {
	case pb.RunStatus_RUN_STATUS_SUCCESS:
		fmt.Printf("success: %s\n", lastMessage(joined.State))
		return nil
	case pb.RunStatus_RUN_STATUS_ERROR:
		return fmt.Errorf("error: %s: %s", run.Error.GetType(), run.Error.GetMessage())
	default:
		if run.SupersededBy != "" {
			return fmt.Errorf("%s: superseded by %s", nameOf(run.Status), run.SupersededBy)
		}
		return errors.New(nameOf(run.Status))
	}
}

// explain says what an error means. Each error of the service carries an ErrorInfo: a reason for programs to act on,
// and the variables of the message.
func explain(err error) string {
	refused, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	for _, detail := range refused.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}
		if info.Reason == "THREAD_BUSY" {
			return fmt.Sprintf("refused: thread %s is busy with run %s, which is %s",
				info.Metadata["thread_id"], info.Metadata["active_run_id"], info.Metadata["active_run_status"])
		}
		return fmt.Sprintf("%s: %s", info.Reason, refused.Message())
	}
	return fmt.Sprintf("%s: %s", refused.Code(), refused.Message())
}

func inputOf(text string) (*structpb.Struct, error) {
	var input map[string]any
	if err := json.Unmarshal([]byte(*more), &input); err != nil || input == nil {
		return nil, fmt.Errorf("-input %s: a JSON object is wanted", *more)
	}
	input["messages"] = []any{map[string]any{"role": "user", "content": text}}
	return structpb.NewStruct(input)
}

func strategyOf(name string) (pb.MultitaskStrategy, error) {
	if name == "" {
		return pb.MultitaskStrategy_MULTITASK_STRATEGY_UNSPECIFIED, nil
	}
	number, ok := pb.MultitaskStrategy_value["MULTITASK_STRATEGY_"+strings.ToUpper(name)]
	if !ok {
		return 0, fmt.Errorf("-strategy %s: reject, interrupt, rollback or enqueue is wanted", name)
	}
	return pb.MultitaskStrategy(number), nil
}

func nameOf(status pb.RunStatus) string {
	return strings.ToLower(strings.TrimPrefix(status.String(), "RUN_STATUS_"))
}

func lastMessage(state *pb.State) string {
	messages := state.GetValues().GetFields()["messages"].GetListValue().GetValues()
	if len(messages) == 0 {
		return "(no message)"
	}
	return messages[len(messages)-1].GetStructValue().GetFields()["content"].GetStringValue()
}

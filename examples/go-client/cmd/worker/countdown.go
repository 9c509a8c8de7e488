package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	pb "doubletext.example/client/gen/doubletext/v1"
)

// countdown is the graph that this worker executes: replace it with yours. It commits input.steps messages (3 unless
// given), input.pause seconds apart (0.1 unless given). A second attempt finds in the state what the first one
// committed, and goes on from there. ctx is done when the run is to stop. What was said to the run meanwhile, with STEER,
// comes back from commit: another pause holds from then on.
func countdown(ctx context.Context, assignment *pb.Assignment, commit commit) error {
	input := assignment.Run.Input.GetFields()
	steps := numberOr(input["steps"], 3)
	if steps < 0 {
		return fmt.Errorf("steps is %v; 0 or more is wanted", steps)
	}
	pause := numberOr(input["pause"], 0.1)
	made := map[string]bool{}
	for _, message := range assignment.State.Values.GetFields()["messages"].GetListValue().GetValues() {
		made[message.GetStructValue().GetFields()["id"].GetStringValue()] = true
	}
	first := true
	for n := int(steps); n > 0; n-- {
		id := fmt.Sprintf("%s-%d", assignment.Run.RunId, n)
		if made[id] {
			continue
		}
		if !first {
			select {
			case <-time.After(time.Duration(pause * float64(time.Second))):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		first = false
		message := map[string]any{"id": id, "role": "assistant", "content": fmt.Sprint(n)}
		said, err := commit(map[string]any{"messages": []any{message}})
		if err != nil {
			return err
		}
		for _, input := range said {
			pause = numberOr(input.GetFields()["pause"], pause)
		}
	}
	return nil
}

// commit makes an update a step of the run, and answers the inputs that became steps with it.
type commit func(update map[string]any) ([]*structpb.Struct, error)

func numberOr(value *structpb.Value, otherwise float64) float64 {
	if number, ok := value.GetKind().(*structpb.Value_NumberValue); ok {
		return number.NumberValue
	}
	return otherwise
}

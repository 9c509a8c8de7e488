// Calls through what is generated for TypeScript, with Connect's client.
import { createClient, type Transport } from "@connectrpc/connect";
import { ErrorReason } from "./gen/typescript/doubletext/v1/errors_pb.js";
import { RunService } from "./gen/typescript/doubletext/v1/run_service_pb.js";

export const busy: string = ErrorReason[ErrorReason.THREAD_BUSY];

export async function create(transport: Transport): Promise<string | undefined> {
  const created = await createClient(RunService, transport).createRun({ threadId: "t", assistantId: "agent" });
  return created.run?.runId;
}

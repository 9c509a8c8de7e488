// Calls to the service: stubs made from the protos at start, and what to do about calls that fail.

import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTOS = fileURLToPath(new URL('../../protos', import.meta.url));
const FILES = ['doubletext/v1/assistant_service.proto', 'doubletext/v1/worker_service.proto'];
/** Asks for JSON as text: `x_json` instead of the Struct `x`. */
const AS_TEXT = new grpc.Metadata();
AS_TEXT.set('doubletext-json', 'text');
const { UNAVAILABLE, DEADLINE_EXCEEDED, FAILED_PRECONDITION, ALREADY_EXISTS } = grpc.status;

export class Service {
  constructor(address) {
    const loading = { includeDirs: [PROTOS], keepCase: true, longs: Number, defaults: true, oneofs: true };
    const definition = loadSync(FILES, loading);
    const { AssistantService, WorkerService } = grpc.loadPackageDefinition(definition).doubletext.v1;
    // A state may be larger than the 4 MiB that gRPC takes unless told otherwise.
    const options = { 'grpc.max_receive_message_length': 64 << 20 };
    this.assistants = new AssistantService(address, grpc.credentials.createInsecure(), options);
    this.workers = new WorkerService(address, grpc.credentials.createInsecure(), options);
  }

  /** Calls once. Aborting `signal` cancels the call. */
  call(method, request, { seconds = 10, signal } = {}) {
    const stub = method in this.workers ? this.workers : this.assistants;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const cancel = () => pending.cancel();
      const pending = stub[method](request, AS_TEXT, { deadline: Date.now() + seconds * 1000 }, (error, response) => {
        signal?.removeEventListener('abort', cancel);
        if (error) reject(error);
        else resolve(response);
      });
      signal?.addEventListener('abort', cancel);
    });
  }

  /** Calls until the service answers or `signal` is aborted. For calls that may be repeated. */
  async insist(method, request, signal) {
    for (let tries = 0; ; tries++) {
      try {
        return await this.call(method, request);
      } catch (error) {
        if (!passing(error) || signal.aborted) throw error;
        if (tries === 0) console.error(`${method} is tried again: ${error.message}`);
        await backoff(tries, signal);
      }
    }
  }

  close() {
    this.assistants.close();
    this.workers.close();
  }
}

/** The server is away, or slow: another try may succeed. */
export const passing = (error) => [UNAVAILABLE, DEADLINE_EXCEEDED].includes(error.code);

/** The lease is lost (the only FAILED_PRECONDITION of WorkerService): nothing more is accepted from this attempt. */
export const lost = (error) => error.code === FAILED_PRECONDITION;

export const taken = (error) => error.code === ALREADY_EXISTS;

/** Waits 0.1 s, 0.2 s, … up to 5 s, less up to half; not at all once `signal` is aborted. */
export async function backoff(tries, signal) {
  const most = Math.min(5000, 100 * 2 ** tries);
  await pause(most * (1 - Math.random() / 2), undefined, { signal }).catch(() => {});
}

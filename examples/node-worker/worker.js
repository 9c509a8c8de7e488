#!/usr/bin/env node
// Executes the runs of one graph: claims them from the service, commits their steps, stops when told to.

import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { countdown } from './countdown.js';
import { Service, backoff, lost, passing, taken } from './service.js';

const { values: options } = parseArgs({
  options: {
    server: { type: 'string', default: process.env.DOUBLETEXT_SERVER ?? '127.0.0.1:50051' },
    graph: { type: 'string', default: 'countdown' },
    slots: { type: 'string', default: '4' },
    id: { type: 'string', default: `${hostname()}-${process.pid}` },
  },
});
const service = new Service(options.server);
const closing = new AbortController();
const log = (...words) => console.error(...words);

/** Claims and executes one run after another. */
async function slot() {
  for (let tries = 0; !closing.signal.aborted;) {
    try {
      const claim = { worker_id: options.id, graphs: [options.graph], wait: { seconds: 20 } };
      const { assignment } = await service.call('ClaimRun', claim, { seconds: 30, signal: closing.signal });
      tries = 0;
      if (assignment) await execute(assignment);
    } catch (error) {
      if (closing.signal.aborted) return;
      log(`cannot work: ${error.message}`);
      await backoff(tries++, closing.signal);
    }
  }
}

async function execute({ lease, run, state }) {
  log(run.run_id, `claimed, attempt ${run.attempt}`);
  const stop = new AbortController();
  const offered = new Set(); // the runs that steer this one
  const unwatch = watch(lease, stop, offered);
  const signal = AbortSignal.any([stop.signal, closing.signal]);
  try {
    const input = JSON.parse(run.input_json);
    const heard = [];
    const steered = () => heard.splice(0);
    let step = Number(run.last_step);
    for await (const update of countdown({ run, input, state: JSON.parse(state.values_json), signal, steered })) {
      signal.throwIfAborted();
      const absorb = [...offered];
      // With its number, a step whose answer was lost can be sent again without being made twice.
      const made = await service.insist(
        'CommitStep',
        { lease, update_json: JSON.stringify(update), expected_step: step + 1, absorb },
        signal,
      );
      step = Number(made.step);
      for (const run_id of absorb) offered.delete(run_id);
      heard.push(...(made.absorbed ?? []).map((steer) => JSON.parse(steer.input_json)));
      log(run.run_id, `step ${step}`);
    }
    signal.throwIfAborted();
    await service.insist('FinishRun', { lease, success: {} }, signal);
    log(run.run_id, 'finished');
  } catch (error) {
    if (signal.aborted || lost(error)) await release(run, lease, stop.signal.reason ?? error.message);
    else await fail(run, lease, error);
  } finally {
    unwatch();
  }
}

/**
 * Keeps the lease alive and aborts `stop` when the run is to stop, or the lease is lost. Adds to `offered` which runs steer
 * this one. Returns what ends that.
 */
function watch(lease, stop, offered) {
  const done = new AbortController();
  let stream;
  const open = (tries) => {
    stream = service.workers.WatchLease({ lease });
    stream.on('data', (told) => {
      tries = 0;
      if (told.stop) stop.abort(told.stop.reason);
      if (told.steer) offered.add(told.steer.run_id);
    });
    stream.on('error', () => {}); // its code comes with the status
    stream.on('status', async (status) => {
      if (done.signal.aborted || stop.signal.aborted) return;
      if (!passing(status)) return stop.abort(status.details || 'the lease has ended');
      await backoff(tries, done.signal);
      if (!done.signal.aborted) open(tries + 1);
    });
  };
  open(0);
  return () => {
    done.abort();
    stream.cancel();
  };
}

/** Acknowledges a stop, so that the run's successor may start; or hands the run back, when the worker is to end. */
async function release(run, lease, reason) {
  log(run.run_id, `stopped: ${closing.signal.aborted ? 'the worker is closing' : reason}`);
  await last('ReleaseRun', run, { lease });
}

/** Ends the run with the error of its graph. */
async function fail(run, lease, { name, message }) {
  log(run.run_id, `failed: ${message}`);
  await last('FinishRun', run, { lease, error: { type: name, message } });
}

/** Makes the attempt's last call, which a lost lease no longer allows and no longer needs. */
async function last(method, run, request) {
  try {
    await service.insist(method, request, closing.signal);
  } catch (error) {
    if (!lost(error)) log(run.run_id, `${method} failed, so the lease has to expire: ${error.message}`);
  }
}

/** Makes the assistant that callers name to have this graph executed. */
async function announce() {
  const assistant = { assistant_id: options.graph, graph: options.graph };
  await service.insist('CreateAssistant', assistant, closing.signal).catch((error) => {
    if (!taken(error)) throw error;
  });
}

for (const name of ['SIGTERM', 'SIGINT']) process.once(name, () => closing.abort());
try {
  await announce();
  console.log(`ready: ${options.id} serves ${options.graph} for ${options.server}`);
  await Promise.all(Array.from({ length: Number(options.slots) }, slot));
} catch (error) {
  if (!closing.signal.aborted) throw error;
}
service.close();

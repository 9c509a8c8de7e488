// The graph that this worker executes: replace it with yours. It yields updates of the state, each a durable step.

import { setTimeout as pause } from 'node:timers/promises';

/**
 * Counts down in `input.steps` messages (3 unless given), `input.pause` seconds apart (0.1 unless given).
 *
 * A second attempt finds in `state` what the first one committed, and goes on from there.
 * `signal` is aborted when the run is to stop. `steered()` has the inputs that were said to the run, with STEER, and taken
 * with the last step: another `pause` holds from then on.
 */
export async function* countdown({ run, input, state, signal, steered }) {
  let { steps = 3, pause: seconds = 0.1 } = input;
  if (!(steps >= 0)) throw new RangeError(`steps is ${steps}; 0 or more is wanted`);
  const made = new Set((state.messages ?? []).map((message) => message?.id));
  const left = Array.from({ length: steps }, (_, index) => steps - index).filter((n) => !made.has(idOf(run, n)));
  for (const [index, n] of left.entries()) {
    if (index > 0) await pause(seconds * 1000, undefined, { signal });
    yield { messages: [{ id: idOf(run, n), role: 'assistant', content: String(n) }] };
    for (const said of steered()) seconds = said.pause ?? seconds;
  }
}

const idOf = (run, n) => `${run.run_id}-${n}`;

// A Node client that pings every 10 s, and one that computes for 9 s: neither may lose a JoinRun.
//   node pings.mjs HOST:PORT PROTOS ping|busy
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const [, , address, protos, mode] = process.argv;
const files = ['doubletext/v1/run_service.proto', 'doubletext/v1/thread_service.proto'];
const loaded = loadSync(files, { includeDirs: [protos], keepCase: true, longs: Number, defaults: true, oneofs: true });
const { ThreadService, RunService } = grpc.loadPackageDefinition(loaded).doubletext.v1;
const options = mode === 'ping' ? { 'grpc.keepalive_time_ms': 10000, 'grpc.keepalive_timeout_ms': 5000 } : {};
const [threads, runs] = [ThreadService, RunService].map((S) => new S(address, grpc.credentials.createInsecure(), options));
const call = (stub, method, request) =>
  new Promise((ok, no) => stub[method](request, { deadline: Date.now() + 90000 }, (e, r) => (e ? no(e) : ok(r))));

const { thread } = await call(threads, 'CreateThread', {});
const sleep = mode === 'ping' ? 65 : 13;
const input = { fields: { sleep: { numberValue: sleep } } };
const { run } = await call(runs, 'CreateRun', { thread_id: thread.thread_id, assistant_id: 'agent', input });
const began = Date.now();
const joining = call(runs, 'JoinRun', { run_id: run.run_id });
if (mode === 'busy') setTimeout(() => { const end = Date.now() + 9000; while (Date.now() < end); }, 1000);
try {
  console.log('joined', (await joining).run.status, `after ${(Date.now() - began) / 1000} s`);
  process.exit(0);
} catch (error) {
  console.log(`JoinRun failed after ${(Date.now() - began) / 1000} s: ${error.code} ${error.details}`);
  process.exit(1);
}

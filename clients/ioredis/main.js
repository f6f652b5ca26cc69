// Proves that ioredis works against the server at WEIR_ADDR: in RESP3 (its default, mapped to the shapes of RESP2),
// in RESP3 with replies as they come, and in RESP2.

import { consumerCases } from './consumer_cases.js';
import { Bench, prove, serverVersion, upTo } from './harness.js';
import { newerCases } from './newer_cases.js';
import { streamCases, timeOutCases } from './stream_cases.js';

const address = process.env.WEIR_ADDR;
if (!address) {
  console.error('WEIR_ADDR is not set; give it the address of a server, such as 127.0.0.1:6379');
  process.exit(2);
}
const version = await serverVersion(new Bench(address, {}));
const cases = { ...consumerCases, ...streamCases, ...timeOutCases, ...upTo(version, newerCases, 'ioredis') };
const results = await Promise.all([
  prove('ioredis RESP3', cases, () => new Bench(address, {})),
  prove('ioredis RESP3 as it comes', cases, () => new Bench(address, { protocol: 3, replyMapping: 'resp3' })),
  prove('ioredis RESP2', cases, () => new Bench(address, { protocol: 2 })),
]);
process.exit(results.every(Boolean) ? 0 : 1);

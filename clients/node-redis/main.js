// Proves that node-redis works against the server at WEIR_ADDR, in RESP3 (its default) and in RESP2.

import { consumerCases } from './consumer_cases.js';
import { Bench, prove, serverVersion, upTo } from './harness.js';
import { newerCases } from './newer_cases.js';
import { longBlock, streamCases } from './stream_cases.js';

const address = process.env.WEIR_ADDR;
if (!address) {
  console.error('WEIR_ADDR is not set; give it the address of a server, such as 127.0.0.1:6379');
  process.exit(2);
}
const version = await serverVersion(new Bench(address, 3));
const cases = { ...consumerCases, ...streamCases, ...upTo(version, newerCases, 'node-redis') };
const results = await Promise.all([
  prove('node-redis RESP3', cases, () => new Bench(address, 3)),
  prove('node-redis RESP2', cases, () => new Bench(address, 2)),
  prove('node-redis time-outs', longBlock, () => new Bench(address, 3)),
]);
process.exit(results.every(Boolean) ? 0 : 1);

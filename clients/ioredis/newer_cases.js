// What came after Redis 7.0, each with the release that brought it; older servers are not asked.

import assert from 'node:assert/strict';
import { OTHER, delivered, rows } from './consumer_cases.js';
import { pick, same, story } from './harness.js';

const xreadNewest = async (bench) => {
  const client = await bench.open();
  const stream = await delivered(bench, client, story.consumer, 1);
  same(await client.xread('COUNT', 3, 'STREAMS', stream, '+'), bench.streams([stream, [story.entries[4]]]), 'XREAD');
};

const references = async (bench) => {
  const client = await bench.open();
  const stream = await delivered(bench, client, story.consumer, 2);
  const [first, second, third] = story.ids;
  same(await client.xdelex(stream, 'ACKED', 'IDS', 3, first, third, '1-1'), [2, 2, -1], 'pending, undelivered, unknown');
  same(await client.xack(stream, story.group, first), 1, 'XACK');
  same(await client.xdelex(stream, 'ACKED', 'IDS', 1, first), [1], 'acknowledged');
  same(await client.xackdel(stream, story.group, 'KEEPREF', 'IDS', 2, second, first), [1, -1], 'XACKDEL');
  await client.xreadgroup('GROUP', story.group, story.consumer, 'COUNT', 1, 'STREAMS', stream, '>');
  same(await client.xdelex(stream, 'DELREF', 'IDS', 1, third), [1], 'with its references');
  same(await rows(client, stream), [], 'XPENDING');
  same(await client.xrange(stream, '-', '+'), story.entries.slice(3), 'what is left');
};

const readAndClaim = async (bench) => {
  const client = await bench.open();
  const stream = await delivered(bench, client, 'dead', 1);
  const reply = await client.xreadgroup(
    'GROUP', story.group, story.consumer, 'COUNT', 3, 'CLAIM', 0, 'STREAMS', stream, '>');
  const idle = (bench.mapped ? reply[stream] : reply[0][1])[0][2];
  assert.ok(Number.isInteger(idle) && idle >= 0 && idle < 60_000, `idle ${idle}`);
  const [first, second, third] = story.entries;
  same(reply, bench.streams([stream, [[...first, idle, 1], [...second, 0, 0], [...third, 0, 0]]]), 'XREADGROUP CLAIM');
  same(await rows(client, stream),
    [[first[0], story.consumer, 2], [second[0], story.consumer, 1], [third[0], story.consumer, 1]], 'XPENDING');
};

const idempotence = async (bench) => {
  const client = await bench.open();
  const stream = bench.key();
  await client.xadd(stream, '1-1', 'n', 'old');
  same(await client.xcfgset(stream, 'IDMP-DURATION', 60, 'IDMP-MAXSIZE', 50), 'OK', 'XCFGSET');
  const id = await client.xadd(stream, 'IDMP', 'p1', 'order-7', '*', 'n', '1');
  same(await client.xadd(stream, 'IDMP', 'p1', 'order-7', '*', 'n', '2'), id, 'again');
  const otherProducer = await client.xadd(stream, 'IDMP', 'p2', 'order-7', '*', 'n', '3');
  const automatic = await client.xadd(stream, 'IDMPAUTO', 'p1', '*', 'n', '4', 'm', '5');
  same(await client.xadd(stream, 'IDMPAUTO', 'p1', '*', 'm', '5', 'n', '4'), automatic, 'the same content in another order');
  same(await client.xrange(stream, '-', '+'), [
    ['1-1', ['n', 'old']], [id, ['n', '1']], [otherProducer, ['n', '3']], [automatic, ['n', '4', 'm', '5']],
  ], 'XRANGE');
  const expected = [['idmp-duration', 60], ['idmp-maxsize', 50], ['pids-tracked', 2], ['iids-tracked', 3],
    ['iids-added', 3], ['iids-duplicates', 2]];
  same(pick(await client.xinfo('STREAM', stream), ...expected.map(([name]) => name)), expected, 'XINFO STREAM');
};

const released = async (bench) => {
  const client = await bench.open();
  const stream = await delivered(bench, client, story.consumer, 2);
  const [first, second] = story.ids;
  same(await client.xnack(stream, story.group, 'FAIL', 'IDS', 2, first, '1-1'), 1, 'XNACK');
  same(await rows(client, stream), [[first, '', 1], [second, story.consumer, 1]], 'XPENDING');
  same(await client.xpending(stream, story.group, '-', '+', 1), [[first, '', -1, 1]], 'idle');
  same(await client.xautoclaim(stream, story.group, OTHER, 3_600_000, '0-0'), ['0-0', [story.entries[0]], []], 'XAUTOCLAIM');
  same(await rows(client, stream), [[first, OTHER, 2], [second, story.consumer, 1]], 'XPENDING');
};

const capped = async (bench) => {
  const client = await bench.open();
  const [one, two] = [bench.key('one'), bench.key('two')];
  for (const id of ['1-1', '2-2', '3-3']) await Promise.all([one, two].map((key) => client.xadd(key, id, 'n', id)));
  const entry = (id) => [id, ['n', id]];
  same(await client.xread('COUNT', 2, 'MAXCOUNT', 3, 'STREAMS', one, two, '0', '0'),
    bench.streams([one, [entry('1-1'), entry('2-2')]], [two, [entry('1-1')]]), 'XREAD');
};

export const newerCases = [
  ['7.4', 'XREAD from + answers the newest entry', xreadNewest],
  ['8.2', 'deletion knows who still refers to an entry', references],
  ['8.4', 'one read claims what others left and takes what is new', readAndClaim],
  ['8.6', 'a repeated idempotent append is answered with the first id', idempotence],
  ['8.8', 'a released entry is claimable at once', released],
  ['8.10', 'MAXCOUNT caps a read over all its streams', capped],
];

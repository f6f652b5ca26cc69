// What came after Redis 7.0, each with the release that brought it; older servers are not asked.

import assert from 'node:assert/strict';
import { OTHER, delivered, rows } from './consumer_cases.js';
import { pick, same, story } from './harness.js';

const xreadNewest = async (bench) => {
  const client = await bench.open();
  const stream = await delivered(bench, client, story.consumer, 1);
  same(await client.xRead({ key: stream, id: '+' }, { COUNT: 3 }), [{ name: stream, messages: [story.messages[4]] }], 'XREAD');
};

const references = async (bench) => {
  const client = await bench.open();
  const stream = await delivered(bench, client, story.consumer, 2);
  const [first, second, third] = story.ids;
  same(await client.xDelEx(stream, [first, third, '1-1'], 'ACKED'), [2, 2, -1], 'pending, undelivered, unknown');
  same(await client.xAck(stream, story.group, first), 1, 'XACK');
  same(await client.xDelEx(stream, first, 'ACKED'), [1], 'acknowledged');
  same(await client.xAckDel(stream, story.group, [second, first]), [1, -1], 'XACKDEL');
  await client.xReadGroup(story.group, story.consumer, { key: stream, id: '>' }, { COUNT: 1 });
  same(await client.xDelEx(stream, third, 'DELREF'), [1], 'with its references');
  same(await rows(client, stream), [], 'XPENDING');
  same(await client.xRange(stream, '-', '+'), story.messages.slice(3), 'what is left');
};

const readAndClaim = async (bench) => {
  const client = await bench.open();
  const stream = await delivered(bench, client, 'dead', 1);
  const reply = await client.xReadGroup(story.group, story.consumer, { key: stream, id: '>' }, { CLAIM: 0, COUNT: 3 });
  const idle = reply[0].messages[0].millisElapsedFromDelivery;
  assert.ok(Number.isInteger(idle) && idle >= 0 && idle < 60_000, `idle ${idle}`);
  const told = (message, millisElapsedFromDelivery, deliveriesCounter) => ({ ...message, millisElapsedFromDelivery, deliveriesCounter });
  const [first, second, third] = story.messages;
  same(reply, [{ name: stream, messages: [told(first, idle, 1), told(second, 0, 0), told(third, 0, 0)] }], 'XREADGROUP CLAIM');
  same(await rows(client, stream),
    [[first.id, story.consumer, 2], [second.id, story.consumer, 1], [third.id, story.consumer, 1]], 'XPENDING');
};

const idempotence = async (bench) => {
  const client = await bench.open();
  const stream = bench.key();
  await client.xAdd(stream, '1-1', { n: 'old' });
  same(await client.xCfgSet(stream, { IDMP_DURATION: 60, IDMP_MAXSIZE: 50 }), 'OK', 'XCFGSET');
  const add = (n, options) => client.xAdd(stream, '*', { n }, options);
  const id = await add('1', { IDMP: { pid: 'p1', iid: 'order-7' } });
  same(await add('2', { IDMP: { pid: 'p1', iid: 'order-7' } }), id, 'again');
  const otherProducer = await add('3', { IDMP: { pid: 'p2', iid: 'order-7' } });
  const automatic = await add('4', { IDMPAUTO: { pid: 'p1' } });
  same(await add('4', { IDMPAUTO: { pid: 'p1' } }), automatic, 'the same content');
  same((await client.xRange(stream, '-', '+')).map((entry) => [entry.id, entry.message.n]),
    [['1-1', 'old'], [id, '1'], [otherProducer, '3'], [automatic, '4']], 'XRANGE');
  const expected = { 'idmp-duration': 60, 'idmp-maxsize': 50, 'pids-tracked': 2, 'iids-tracked': 3, 'iids-added': 3, 'iids-duplicates': 2 };
  same(pick(await client.xInfoStream(stream), ...Object.keys(expected)), expected, 'XINFO STREAM');
};

const released = async (bench) => {
  const client = await bench.open();
  const stream = await delivered(bench, client, story.consumer, 2);
  const [first, second] = story.ids;
  same(await client.xNack(stream, story.group, 'FAIL', [first, '1-1']), 1, 'XNACK');
  same(await rows(client, stream), [[first, '', 1], [second, story.consumer, 1]], 'XPENDING');
  same((await client.xPendingRange(stream, story.group, '-', '+', 1))[0].millisecondsSinceLastDelivery, -1, 'idle');
  same(await client.xAutoClaim(stream, story.group, OTHER, 3_600_000, '0-0'),
    { nextId: '0-0', messages: [story.messages[0]], deletedMessages: [] }, 'XAUTOCLAIM');
  same(await rows(client, stream), [[first, OTHER, 2], [second, story.consumer, 1]], 'XPENDING');
};

const capped = async (bench) => {
  const client = await bench.open();
  const [one, two] = [bench.key('one'), bench.key('two')];
  for (const id of ['1-1', '2-2', '3-3']) await Promise.all([one, two].map((key) => client.xAdd(key, id, { n: id })));
  const message = (id) => ({ id, message: { n: id } });
  same(await client.xRead([{ key: one, id: '0' }, { key: two, id: '0' }], { COUNT: 2, MAXCOUNT: 3 }), [
    { name: one, messages: [message('1-1'), message('2-2')] }, { name: two, messages: [message('1-1')] },
  ], 'XREAD');
};

export const newerCases = [
  ['7.4', 'XREAD from + answers the newest entry', xreadNewest],
  ['8.2', 'deletion knows who still refers to an entry', references],
  ['8.4', 'one read claims what others left and takes what is new', readAndClaim],
  ['8.6', 'a repeated idempotent append is answered with the first id', idempotence],
  ['8.8', 'a released entry is claimable at once', released],
  ['8.10', 'MAXCOUNT caps a read over all its streams', capped],
];

// The consumer's story: group, pending first, new, acknowledge, malformed data, restart, claim, health.

import assert from 'node:assert/strict';
import { Consumer } from './consumer.js';
import { SMALLER_ID, failsWith, pick, same, story } from './harness.js';

const BLOCK_MS = 50;
export const OTHER = 'consumer-host-2';

function options(bench, name = story.consumer) {
  return {
    stream: bench.key(), deadLetters: bench.key('dead-letters'), group: story.group, name, count: 2,
    deadLetterReason: story.deadLetterReason,
  };
}

async function publish(client, stream) {
  for (const [id, fields] of story.entries) same(await client.xadd(stream, id, ...fields), id, 'XADD');
}

/** A stream with the story's events and its group, of which `name` has been given the first `count`. */
export async function delivered(bench, client, name, count) {
  const stream = bench.key();
  await publish(client, stream);
  await client.xgroup('CREATE', stream, story.group, '0');
  const reply = await client.xreadgroup('GROUP', story.group, name, 'COUNT', count, 'STREAMS', stream, '>');
  same(reply, bench.streams([stream, story.entries.slice(0, count)]), 'XREADGROUP');
  return stream;
}

export const rows = async (client, stream) =>
  (await client.xpending(stream, story.group, '-', '+', 10)).map(([id, consumer, , deliveries]) => [id, consumer, deliveries]);

/** XINFO GROUPS of the story's group, with lag and entries-read by name. */
const groupInfo = (bench, consumers, pending, last, read, lag) => [bench.map(
  ['name', story.group], ['consumers', consumers], ['pending', pending],
  ['last-delivered-id', last], ['entries-read', read], ['lag', lag])];

export const consumerCases = {
  async 'the protocol asked for is spoken'(bench) {
    const client = await bench.open();
    same(pick(await client.call('HELLO'), 'proto'), [['proto', bench.options.protocol ?? 3]], 'HELLO');
    same(await client.ping(), 'PONG', 'PING');
  },

  async 'a group is created once, and BUSYGROUP is tolerated'(bench) {
    const client = await bench.open();
    const consumer = new Consumer(client, options(bench));
    const create = () => client.xgroup('CREATE', bench.key(), story.group, '0', 'MKSTREAM');
    same(await create(), 'OK', 'XGROUP CREATE');
    await failsWith(create(), 'BUSYGROUP Consumer Group name already exists');
    await consumer.setUpGroup();
    same(await client.xinfo('GROUPS', bench.key()), groupInfo(bench, 0, 0, '0-0', null, 0), 'XINFO GROUPS');
  },

  async 'the consumer handles, retries, sets aside and acknowledges'(bench) {
    const client = await bench.open();
    const handled = [];
    let failures = 0;
    const consumer = new Consumer(client, options(bench), async (id, type, { userId }) => {
      if (id === story.failsOnce && failures++ === 0) throw new Error('try again');
      handled.push(`${id} ${type} ${userId}`);
    });
    await consumer.setUpGroup();
    await publish(client, consumer.stream);
    const seen = [];
    for (let turn = 0; turn < 4; turn += 1) seen.push(await consumer.turn(BLOCK_MS));

    // The second turn meets the entry that failed, then the next two new ones.
    same(seen, [2, 3, 1, 0], 'entries per turn');
    same(handled, story.handled, 'handled');
    const letters = await client.xrange(consumer.deadLetters, '-', '+');
    const [id, fields] = story.entries.find(([entry]) => entry === story.malformed);
    same(letters.map(([, letter]) => letter),
      [['originalId', id, 'reason', story.deadLetterReason, ...fields]], 'dead letters');
    same(await client.xpending(consumer.stream, story.group), [0, null, null, null], 'XPENDING');
    same(await client.xinfo('GROUPS', consumer.stream), groupInfo(bench, 1, 0, story.ids[4], 5, 0), 'XINFO GROUPS');
  },

  async 'after a restart the same name finds what it held'(bench) {
    const crashing = await bench.open();
    const stream = await delivered(bench, crashing, story.consumer, 2);
    crashing.disconnect();

    const client = await bench.open();
    same(await rows(client, stream), story.ids.slice(0, 2).map((id) => [id, story.consumer, 1]), 'before');
    const met = [];
    const consumer = new Consumer(client, options(bench), async (id) => met.push(id));
    same(await consumer.processPending(), 2, 'pending after the restart');
    same(met, story.ids.slice(0, 2), 'met');
    same(await rows(client, stream), [], 'after');
    const other = new Consumer(client, options(bench, OTHER), assert.fail);
    same(await other.processPending(), 0, 'pending of another name');
  },

  async 'history is read page by page and counts deliveries'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, story.consumer, 3);
    const page = (id) => client.xreadgroup(
      'GROUP', story.group, story.consumer, 'COUNT', 2, 'BLOCK', BLOCK_MS, 'STREAMS', stream, id);
    same(await page('0'), bench.streams([stream, story.entries.slice(0, 2)]), 'first page');
    same(await page(story.ids[1]), bench.streams([stream, story.entries.slice(2, 3)]), 'second page');
    same(await page(story.ids[2]), bench.streams([stream, []]), 'end');
    same(await rows(client, stream), story.ids.slice(0, 3).map((id) => [id, story.consumer, 2]), 'XPENDING');
  },

  async 'history shows a deleted entry as null'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, story.consumer, 2);
    same(await client.xdel(stream, story.ids[0]), 1, 'XDEL');
    same(await client.xreadgroup('GROUP', story.group, story.consumer, 'STREAMS', stream, '0'),
      bench.streams([stream, [[story.ids[0], null], story.entries[1]]]), 'history');
  },

  async 'the rows of a dead consumer are claimed'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, 'dead', 4);
    const [first, second, third, fourth] = story.ids;
    const claim = [stream, story.group, story.consumer];

    same(await client.xautoclaim(...claim, 3_600_000, '0-0'), ['0-0', [], []], 'too young');
    same(await client.xautoclaim(...claim, 0, '0-0', 'COUNT', 1), [second, [story.entries[0]], []], 'XAUTOCLAIM');
    same(await client.xclaim(...claim, 0, second, '1-1'), [story.entries[1]], 'XCLAIM');
    same(await client.xclaim(...claim, 0, third, 'JUSTID'), [third], 'XCLAIM JUSTID');
    same(await rows(client, stream), [
      [first, story.consumer, 2], [second, story.consumer, 2], [third, story.consumer, 1], [fourth, 'dead', 1],
    ], 'XPENDING');

    same(await client.xdel(stream, fourth), 1, 'XDEL');
    same(await client.xautoclaim(...claim, 0, fourth), ['0-0', [], [fourth]], 'XAUTOCLAIM of a deleted entry');
    same(await client.xack(stream, story.group, first, second, third, fourth), 3, 'XACK');
    same(await client.xgroup('DELCONSUMER', stream, story.group, 'dead'), 0, 'XGROUP DELCONSUMER');
  },

  async 'the health check reads summaries by their true shape'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, story.consumer, 2);
    await client.xreadgroup('GROUP', story.group, OTHER, 'COUNT', 1, 'STREAMS', stream, '>');

    same(await client.xlen(stream), 5, 'XLEN');
    // The count per consumer is a string, in both protocols.
    same(await client.xpending(stream, story.group),
      [3, story.ids[0], story.ids[2], [[story.consumer, '2'], [OTHER, '1']]], 'XPENDING');
    same(await client.xinfo('GROUPS', stream), groupInfo(bench, 2, 3, story.ids[2], 3, 2), 'XINFO GROUPS');
    const consumers = await client.xinfo('CONSUMERS', stream, story.group);
    same(consumers.map((c) => pick(c, 'name', 'pending')),
      [[['name', story.consumer], ['pending', 2]], [['name', OTHER], ['pending', 1]]], 'XINFO CONSUMERS');
    for (const [[, idle]] of consumers.map((c) => pick(c, 'idle'))) {
      assert.ok(Number.isInteger(idle) && idle >= 0 && idle < 60_000, `idle ${idle}`);
    }
    const expected = [
      ['length', 5], ['radix-tree-keys', 1], ['radix-tree-nodes', 2], ['last-generated-id', story.ids[4]],
      ['max-deleted-entry-id', '0-0'], ['entries-added', 5], ['recorded-first-entry-id', story.ids[0]], ['groups', 1],
      ['first-entry', story.entries[0]], ['last-entry', story.entries[4]],
    ];
    same(pick(await client.xinfo('STREAM', stream), ...expected.map(([name]) => name)), expected, 'XINFO STREAM');
  },

  async 'a hole ahead of the group makes its lag unknown'(bench) {
    const client = await bench.open();
    const stream = await delivered(bench, client, story.consumer, 1);
    await client.xdel(stream, story.ids[3]);
    same(await client.xinfo('GROUPS', stream), groupInfo(bench, 1, 1, story.ids[0], 1, null), 'XINFO GROUPS');
  },

  async 'a missing group or stream is named in the error'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    const read = () => client.xreadgroup('GROUP', story.group, story.consumer, 'STREAMS', stream, '>');
    const nogroup = `NOGROUP No such key '${stream}' or consumer group '${story.group}' in XREADGROUP with GROUP option`;
    await failsWith(read(), nogroup);
    await failsWith(client.xinfo('STREAM', stream), 'ERR no such key');
    await failsWith(client.xgroup('CREATE', stream, story.group, '0'), 'ERR The XGROUP subcommand requires the key to exist. '
      + 'Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.');
    await publish(client, stream);
    await failsWith(client.xadd(stream, '1-1', 'a', '1'), SMALLER_ID);
    same(await client.xgroup('CREATE', stream, story.group, '$'), 'OK', 'XGROUP CREATE');
    same(await read(), null, 'nothing new');
    same(await client.xgroup('DESTROY', stream, story.group), 1, 'XGROUP DESTROY');
    await failsWith(read(), nogroup);
  },
};

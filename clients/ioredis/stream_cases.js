// Reading, blocking, pipelines and transactions.

import assert from 'node:assert/strict';
import { SMALLER_ID, WAIT_MAX_MS, awaitedLater, failsWith, same, story, untilBlocked, untilGone } from './harness.js';

const BLOCK_MS = 100;

/** A reader of `stream` in the story's group, on a named connection of its own. */
async function reader(bench, stream, consumer, options = {}) {
  const { client, name } = await bench.openNamed(consumer, options);
  const read = (block, count = 1) => awaitedLater(client.xreadgroup(
    'GROUP', story.group, consumer, 'COUNT', count, 'BLOCK', block, 'STREAMS', stream, '>'));
  return { client, name, read };
}

async function emptyGroup(bench, client) {
  const stream = bench.key();
  await client.xgroup('CREATE', stream, story.group, '$', 'MKSTREAM');
  return stream;
}

export const streamCases = {
  async 'fields keep their order, repetitions and bytes'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    const fields = [Buffer.from('b'), Buffer.from('1'), Buffer.from('a'), Buffer.from([0, 255, 13, 10]), Buffer.from('b'),
      Buffer.alloc(0), Buffer.from('ключ'), Buffer.alloc(100_000, 'x')];
    same(await client.xadd(stream, '7-7', ...fields), '7-7', 'XADD');
    const [[id, kept]] = await client.xrangeBuffer(stream, '-', '+');
    same(id.toString(), '7-7', 'id');
    same(kept.map((b) => b.toString('hex')), fields.map((b) => b.toString('hex')), 'fields');
  },

  async 'ranges, deletion and trimming'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    for (const [id, fields] of story.entries) await client.xadd(stream, id, ...fields);
    same(await client.xrange(stream, story.ids[1], '+', 'COUNT', 2), story.entries.slice(1, 3), 'XRANGE');
    same(await client.xrange(stream, `(${story.ids[1]}`, story.ids[3]), story.entries.slice(2, 4), 'XRANGE, exclusive');
    same(await client.xrevrange(stream, '+', '-', 'COUNT', 2), [story.entries[4], story.entries[3]], 'XREVRANGE');
    same(await client.xdel(stream, story.ids[0], story.ids[0], '1-1'), 1, 'XDEL');
    same(await client.xtrim(stream, 'MAXLEN', 3), 1, 'XTRIM MAXLEN');
    same(await client.xtrim(stream, 'MINID', story.ids[3]), 1, 'XTRIM MINID');
    const id = await client.xadd(stream, 'MAXLEN', '=', 2, '*', 'a', '1');
    assert.match(id, /^\d{13}-\d+$/);
    same(await client.xrange(stream, '-', '+'), [story.entries[4], [id, ['a', '1']]], 'what is left');
  },

  async 'XREAD answers every stream that has something, and null else'(bench) {
    const client = await bench.open();
    const [one, two] = [bench.key('one'), bench.key('two')];
    for (const id of ['1-1', '2-2', '3-3']) await client.xadd(one, id, 'n', id);
    await client.xadd(two, '5-5', 'n', '5-5');
    same(await client.xread('COUNT', 1, 'STREAMS', one, two, '1-1', '0'),
      bench.streams([one, [['2-2', ['n', '2-2']]]], [two, [['5-5', ['n', '5-5']]]]), 'both');
    same(await client.xread('STREAMS', one, two, '3-3', '0'), bench.streams([two, [['5-5', ['n', '5-5']]]]), 'one');
    same(await client.xread('STREAMS', one, two, '3-3', '5-5'), null, 'none');
  },

  async 'XREAD from $ sees only what comes, on every connection'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    await client.xadd(stream, '1-1', 'n', 'old');
    const tails = await Promise.all(['tail-1', 'tail-2'].map((label) => bench.openNamed(label)));
    const read = (tail, block) => awaitedLater(tail.client.xread('BLOCK', block, 'STREAMS', stream, '$'));
    same(await read(tails[0], BLOCK_MS), null, 'time-out');
    const replies = tails.map((tail) => read(tail, WAIT_MAX_MS));
    for (const { name } of tails) await untilBlocked(client, name);
    await client.xadd(stream, '2-2', 'n', 'new');
    const expected = bench.streams([stream, [['2-2', ['n', 'new']]]]);
    same(await Promise.all(replies), [expected, expected], 'both tails');
  },

  async 'a BLOCK that ends without data answers null, no sooner'(bench) {
    const client = await bench.open();
    const stream = await emptyGroup(bench, client);
    const { read } = await reader(bench, stream, story.consumer);
    const started = performance.now();
    same(await read(BLOCK_MS), null, 'time-out');
    const elapsed = performance.now() - started;
    assert.ok(elapsed >= BLOCK_MS - 5, `answered after ${elapsed} ms`);
  },

  async 'a blocked reader is woken by another connection'(bench) {
    const client = await bench.open();
    const stream = await emptyGroup(bench, client);
    const { name, read } = await reader(bench, stream, story.consumer);
    const reply = read(0, 10);
    await untilBlocked(client, name);
    await client.xadd(stream, story.ids[0], ...story.entries[0][1]);
    same(await reply, bench.streams([stream, [story.entries[0]]]), 'woken');
    same(await client.xpending(stream, story.group), [1, story.ids[0], story.ids[0], [[story.consumer, '1']]], 'XPENDING');
  },

  async 'blocked readers of a group are served in their order'(bench) {
    const client = await bench.open();
    const stream = await emptyGroup(bench, client);
    const replies = [];
    for (const consumer of ['first', 'second']) {
      const { name, read } = await reader(bench, stream, consumer);
      replies.push(read(WAIT_MAX_MS));
      await untilBlocked(client, name);
    }
    await client.multi().xadd(stream, '1-1', 'n', '1').xadd(stream, '2-2', 'n', '2').exec();
    same(await Promise.all(replies),
      [bench.streams([stream, [['1-1', ['n', '1']]]]), bench.streams([stream, [['2-2', ['n', '2']]]])], 'served');
  },

  async 'a reader that hung up takes nothing'(bench) {
    const client = await bench.open();
    const stream = await emptyGroup(bench, client);
    const gone = await reader(bench, stream, 'gone');
    const lost = failsWith(gone.read(WAIT_MAX_MS), 'Connection is closed.');
    await untilBlocked(client, gone.name);
    gone.client.disconnect();
    await lost;
    await untilGone(client, gone.name);
    await client.xadd(stream, '1-1', 'n', '1');
    const { read } = await reader(bench, stream, story.consumer);
    same(await read(1_000), bench.streams([stream, [['1-1', ['n', '1']]]]), 'the next reader');
    same(await client.xpending(stream, story.group), [1, '1-1', '1-1', [[story.consumer, '1']]], 'XPENDING');
  },

  async 'pipelined commands are answered in order, and fail alone'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    const ids = Array.from({ length: 500 }, (_, n) => `${n + 1}-0`);
    const pipeline = client.pipeline();
    for (const id of ids) pipeline.xadd(stream, id, 'n', id);
    same(await pipeline.exec(), ids.map((id) => [null, id]), 'XADD × 500');
    same(await client.xrange(stream, '-', '+'), ids.map((id) => [id, ['n', id]]), 'XRANGE');

    const replies = await client.pipeline().xlen(stream).xadd(stream, '1-0', 'n', 'x').xtrim(stream, 'MAXLEN', 1).xlen(stream).exec();
    same(replies.map(([error, value]) => error?.message ?? value), [500, SMALLER_ID, 499, 1], 'the second one fails');
  },

  async 'MULTI runs as one and answers errors in place'(bench) {
    const client = await bench.open();
    const stream = await emptyGroup(bench, client);
    const replies = await client.multi()
      .xadd(stream, '5-5', 'a', '1')
      .xadd(stream, '1-1', 'a', '2')
      .xreadgroup('GROUP', story.group, story.consumer, 'STREAMS', stream, '>')
      .xreadgroup('GROUP', story.group, story.consumer, 'BLOCK', 60_000, 'STREAMS', stream, '>')
      .xack(stream, story.group, '5-5')
      .exec();
    same(replies.map(([error, value]) => error?.message ?? value),
      ['5-5', SMALLER_ID, bench.streams([stream, [['5-5', ['a', '1']]]]), null, 1], 'EXEC');

    // Command by command, as a program without pipelining would.
    same(await client.multi({ pipeline: false }), 'OK', 'MULTI');
    same(await client.xadd(stream, '6-6', 'a', '1'), 'QUEUED', 'XADD');
    same(await client.discard(), 'OK', 'DISCARD');
    same(await client.xlen(stream), 1, 'XLEN');
    await failsWith(client.call('EXEC'), 'ERR EXEC without MULTI');
  },

  async 'WATCH lets a transaction through only when nothing changed'(bench) {
    const client = await bench.open();
    const other = await bench.open();
    const stream = bench.key();
    await client.xadd(stream, '1-1', 'n', '1');
    same(await client.watch(stream), 'OK', 'WATCH');
    same(await client.multi().xadd(stream, '2-2', 'n', '2').exec(), [[null, '2-2']], 'untouched');

    await client.watch(stream);
    await other.xadd(stream, '3-3', 'n', '3');
    same(await client.multi().xadd(stream, '4-4', 'n', '4').exec(), null, 'changed');
    same((await client.xrange(stream, '-', '+')).map(([id]) => id), ['1-1', '2-2', '3-3'], 'what was written');

    await client.watch(stream);
    await other.xadd(stream, '5-5', 'n', '5');
    same(await client.unwatch(), 'OK', 'UNWATCH');
    same(await client.multi().xlen(stream).exec(), [[null, 4]], 'after UNWATCH');
  },
};

export const timeOutCases = {
  // commandTimeout gives up on the promise only. The server still serves the read, so what comes later is
  // delivered to nobody's ears; it is not lost, since the next read of the consumer's history finds it.
  async 'a command time-out below BLOCK abandons the read, and history finds its entry'(bench) {
    const client = await bench.open();
    const stream = await emptyGroup(bench, client);
    const impatient = await reader(bench, stream, story.consumer, { commandTimeout: BLOCK_MS });
    await failsWith(impatient.read(WAIT_MAX_MS), 'Command timed out');
    await untilBlocked(client, impatient.name);
    await client.xadd(stream, '1-1', 'n', '1');
    same(await impatient.client.xreadgroup('GROUP', story.group, story.consumer, 'STREAMS', stream, '0'),
      bench.streams([stream, [['1-1', ['n', '1']]]]), 'history');
  },

  async 'blockingTimeout follows BLOCK, and the server answers first'(bench) {
    const client = await bench.open();
    const stream = await emptyGroup(bench, client);
    const { client: guarded, name, read } = await reader(bench, stream, story.consumer,
      { blockingTimeout: BLOCK_MS, blockingTimeoutGrace: WAIT_MAX_MS });
    const started = performance.now();
    same(await read(3 * BLOCK_MS), null, 'time-out');
    assert.ok(performance.now() - started < WAIT_MAX_MS, 'the answer came from the client');
    const reply = read(WAIT_MAX_MS);
    await untilBlocked(client, name);
    await client.xadd(stream, '1-1', 'n', '1');
    same(await reply, bench.streams([stream, [['1-1', ['n', '1']]]]), 'woken');
    same(await guarded.xack(stream, story.group, '1-1'), 1, 'XACK');
  },
};

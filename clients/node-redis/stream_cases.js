// Reading, blocking, pipelines and transactions.

import assert from 'node:assert/strict';
import { RESP_TYPES, WatchError } from 'redis';
import { SMALLER_ID, WAIT_MAX_MS, awaitedLater, failsWith, same, story, untilBlocked, untilGone } from './harness.js';

const BLOCK_MS = 100;

/** A reader of `stream` in the story's group, on a named connection of its own. */
async function reader(bench, stream, consumer) {
  const { client, name } = await bench.openNamed(consumer);
  const read = (BLOCK, COUNT = 1) =>
    awaitedLater(client.xReadGroup(story.group, consumer, { key: stream, id: '>' }, { BLOCK, COUNT }));
  return { client, name, read };
}

export const streamCases = {
  async 'fields keep their order, repetitions and bytes'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    const fields = [Buffer.from('b'), Buffer.from('1'), Buffer.from('a'), Buffer.from([0, 255, 13, 10]), Buffer.from('b'),
      Buffer.alloc(0), Buffer.from('ключ'), Buffer.alloc(100_000, 'x')];
    same(await client.sendCommand(['XADD', stream, '7-7', ...fields]), '7-7', 'XADD');
    const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const [[id, kept]] = await bytes.sendCommand(['XRANGE', stream, '-', '+']);
    same(id.toString(), '7-7', 'id');
    same(kept.map((b) => b.toString('hex')), fields.map((b) => b.toString('hex')), 'fields');
  },

  async 'ranges, deletion and trimming'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    for (const { id, message } of story.messages) await client.xAdd(stream, id, message);
    same(await client.xRange(stream, story.ids[1], '+', { COUNT: 2 }), story.messages.slice(1, 3), 'XRANGE');
    same(await client.xRange(stream, `(${story.ids[1]}`, story.ids[3]), story.messages.slice(2, 4), 'XRANGE, exclusive');
    same(await client.xRevRange(stream, '+', '-', { COUNT: 2 }), [story.messages[4], story.messages[3]], 'XREVRANGE');
    same(await client.xDel(stream, [story.ids[0], story.ids[0], '1-1']), 1, 'XDEL');
    same(await client.xTrim(stream, 'MAXLEN', 3), 1, 'XTRIM MAXLEN');
    same(await client.xTrim(stream, 'MINID', story.ids[3]), 1, 'XTRIM MINID');
    const id = await client.xAdd(stream, '*', { a: '1' }, { TRIM: { strategy: 'MAXLEN', strategyModifier: '=', threshold: 2 } });
    assert.match(id, /^\d{13}-\d+$/);
    same(await client.xRange(stream, '-', '+'), [story.messages[4], { id, message: { a: '1' } }], 'what is left');
  },

  async 'XREAD answers every stream that has something, and null else'(bench) {
    const client = await bench.open();
    const [one, two] = [bench.key('one'), bench.key('two')];
    for (const id of ['1-1', '2-2', '3-3']) await client.xAdd(one, id, { n: id });
    await client.xAdd(two, '5-5', { n: '5-5' });
    const at = (a, b) => [{ key: one, id: a }, { key: two, id: b }];
    same(await client.xRead(at('1-1', '0'), { COUNT: 1 }), [
      { name: one, messages: [{ id: '2-2', message: { n: '2-2' } }] },
      { name: two, messages: [{ id: '5-5', message: { n: '5-5' } }] },
    ], 'both');
    same(await client.xRead(at('3-3', '0')), [{ name: two, messages: [{ id: '5-5', message: { n: '5-5' } }] }], 'one');
    same(await client.xRead(at('3-3', '5-5')), null, 'none');
  },

  async 'XREAD from $ sees only what comes, on every connection'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    await client.xAdd(stream, '1-1', { n: 'old' });
    const tails = await Promise.all(['tail-1', 'tail-2'].map((label) => bench.openNamed(label)));
    same(await tails[0].client.xRead({ key: stream, id: '$' }, { BLOCK: BLOCK_MS }), null, 'time-out');
    const replies = tails.map((tail) => awaitedLater(tail.client.xRead({ key: stream, id: '$' }, { BLOCK: WAIT_MAX_MS })));
    for (const { name } of tails) await untilBlocked(client, name);
    await client.xAdd(stream, '2-2', { n: 'new' });
    const expected = [{ name: stream, messages: [{ id: '2-2', message: { n: 'new' } }] }];
    same(await Promise.all(replies), [expected, expected], 'both tails');
  },

  async 'a BLOCK that ends without data answers null, no sooner'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    await client.xGroupCreate(stream, story.group, '$', { MKSTREAM: true });
    const started = performance.now();
    same(await client.xReadGroup(story.group, story.consumer, { key: stream, id: '>' }, { BLOCK: BLOCK_MS }), null, 'time-out');
    const elapsed = performance.now() - started;
    assert.ok(elapsed >= BLOCK_MS - 5, `answered after ${elapsed} ms`);
  },

  async 'a blocked reader is woken by another connection'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    await client.xGroupCreate(stream, story.group, '$', { MKSTREAM: true });
    const { name, read } = await reader(bench, stream, story.consumer);
    const reply = read(0, 10);
    await untilBlocked(client, name);
    await client.xAdd(stream, story.ids[0], story.messages[0].message);
    same(await reply, [{ name: stream, messages: [story.messages[0]] }], 'woken');
    same(await client.xPending(stream, story.group), {
      pending: 1, firstId: story.ids[0], lastId: story.ids[0], consumers: [{ name: story.consumer, deliveriesCounter: 1 }],
    }, 'XPENDING');
  },

  async 'blocked readers of a group are served in their order'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    await client.xGroupCreate(stream, story.group, '$', { MKSTREAM: true });
    const replies = [];
    for (const consumer of ['first', 'second']) {
      const { name, read } = await reader(bench, stream, consumer);
      replies.push(read(WAIT_MAX_MS));
      await untilBlocked(client, name);
    }
    await client.multi().xAdd(stream, '1-1', { n: '1' }).xAdd(stream, '2-2', { n: '2' }).exec();
    same(await Promise.all(replies), [
      [{ name: stream, messages: [{ id: '1-1', message: { n: '1' } }] }],
      [{ name: stream, messages: [{ id: '2-2', message: { n: '2' } }] }],
    ], 'served');
  },

  async 'a reader that hung up takes nothing'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    await client.xGroupCreate(stream, story.group, '$', { MKSTREAM: true });
    const gone = await reader(bench, stream, 'gone');
    const lost = gone.read(WAIT_MAX_MS).catch((error) => error.constructor.name);
    await untilBlocked(client, gone.name);
    gone.client.destroy();
    same(await lost, 'DisconnectsClientError', 'the client says so');
    await untilGone(client, gone.name);
    await client.xAdd(stream, '1-1', { n: '1' });
    const { read } = await reader(bench, stream, story.consumer);
    same(await read(1_000), [{ name: stream, messages: [{ id: '1-1', message: { n: '1' } }] }], 'the next reader');
    same((await client.xPending(stream, story.group)).consumers, [{ name: story.consumer, deliveriesCounter: 1 }], 'XPENDING');
  },

  async 'pipelined commands are answered in order, and fail alone'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    const ids = Array.from({ length: 500 }, (_, n) => `${n + 1}-0`);
    same(await Promise.all(ids.map((id) => client.xAdd(stream, id, { n: id }))), ids, 'XADD × 500');
    same(await client.xRange(stream, '-', '+'), ids.map((id) => ({ id, message: { n: id } })), 'XRANGE');

    const replies = await Promise.allSettled([client.xLen(stream), client.xAdd(stream, '1-0', { n: 'x' }), client.xLen(stream)]);
    same(replies.map(({ value, reason }) => reason?.message ?? value), [500, SMALLER_ID, 500], 'the middle one fails');
    same(await client.multi().xLen(stream).xTrim(stream, 'MAXLEN', 1).xLen(stream).execAsPipeline(), [500, 499, 1], 'as a pipeline');
  },

  async 'MULTI runs as one and answers errors in place'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    await client.xGroupCreate(stream, story.group, '0', { MKSTREAM: true });
    const failed = await client.multi()
      .xAdd(stream, '5-5', { a: '1' })
      .xAdd(stream, '1-1', { a: '2' })
      .xReadGroup(story.group, story.consumer, { key: stream, id: '>' })
      .xReadGroup(story.group, story.consumer, { key: stream, id: '>' }, { BLOCK: 60_000 })
      .xAck(stream, story.group, '5-5')
      .exec().then(() => assert.fail('no error was reported'), (error) => error);
    same(failed.errorIndexes, [1], 'which one failed');
    same(failed.replies.map((reply) => reply?.message ?? reply),
      ['5-5', SMALLER_ID, [{ name: stream, messages: [{ id: '5-5', message: { a: '1' } }] }], null, 1], 'EXEC');
    await failsWith(client.sendCommand(['EXEC']), 'ERR EXEC without MULTI');
  },

  async 'WATCH lets a transaction through only when nothing changed'(bench) {
    const client = await bench.open();
    const other = await bench.open();
    const stream = bench.key();
    await client.xAdd(stream, '1-1', { n: '1' });
    same(await client.watch(stream), 'OK', 'WATCH');
    same(await client.multi().xAdd(stream, '2-2', { n: '2' }).exec(), ['2-2'], 'untouched');

    await client.watch(stream);
    await other.xAdd(stream, '3-3', { n: '3' });
    const lost = await client.multi().xAdd(stream, '4-4', { n: '4' }).exec().catch((error) => error);
    assert.ok(lost instanceof WatchError, `answered ${JSON.stringify(lost)}`);
    same((await client.xRange(stream, '-', '+')).map(({ id }) => id), ['1-1', '2-2', '3-3'], 'what was written');

    await client.watch(stream);
    await other.xAdd(stream, '5-5', { n: '5' });
    same(await client.unwatch(), 'OK', 'UNWATCH');
    same(await client.multi().xLen(stream).exec(), [4], 'after UNWATCH');
  },
};

// The library's default command time-out of 5 s covers only the wait to be sent, so a longer BLOCK ends by itself.
export const longBlock = {
  async 'a BLOCK longer than the default command time-out'(bench) {
    const client = await bench.open();
    const stream = bench.key();
    await client.xGroupCreate(stream, story.group, '$', { MKSTREAM: true });
    const { name, read } = await reader(bench, stream, story.consumer);
    same(await read(5_200), null, 'time-out');
    const reply = read(30_000);
    await untilBlocked(client, name);
    await client.xAdd(stream, '1-1', { n: '1' });
    same(await reply, [{ name: stream, messages: [{ id: '1-1', message: { n: '1' } }] }], 'the same connection goes on');
  },
};

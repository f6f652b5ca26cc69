// What every case needs: connections to the server under test, keys of its own, comparison of whole values.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { createClient } from 'redis';

export const WAIT_MAX_MS = 10_000;
export const SMALLER_ID = 'ERR The ID specified in XADD is equal or smaller than the target stream top item';

export const story = JSON.parse(readFileSync(new URL('../story.json', import.meta.url)));
story.messages = story.events.map(({ id, fields }) => ({ id, message: Object.fromEntries(fields) }));
story.ids = story.events.map(({ id }) => id);

/** Compares whole values, order of keys included; objects without a prototype count as plain ones. */
export function same(actual, expected, what = 'value') {
  const plain = structuredClone(actual);
  assert.deepStrictEqual(plain, expected, `${what}: ${JSON.stringify(plain)} is not ${JSON.stringify(expected)}`);
  assert.equal(JSON.stringify(plain), JSON.stringify(expected), `${what}: order differs`);
}

/** The named properties of an object, for replies that also carry times or fields of newer servers. */
export function pick(object, ...names) {
  return Object.fromEntries(names.map((name) => [name, object[name]]));
}

export async function failsWith(promise, message) {
  const error = await promise.then((value) => assert.fail(`answered ${JSON.stringify(value)}`), (e) => e);
  same(error.message, message, 'error');
}

/** Marks a promise that a case awaits only after other steps, so that a failure in between is the one reported. */
export function awaitedLater(promise) {
  promise.catch(() => {});
  return promise;
}

/** The connections and keys of one case. */
export class Bench {
  constructor(address, RESP) {
    Object.assign(this, { address, RESP, clients: [], keys: new Set(), prefix: `proof:node-redis:${randomBytes(6).toString('hex')}:` });
  }

  key(name = 'crm:sync:user:user_created') {
    const key = this.prefix + name;
    this.keys.add(key);
    return key;
  }

  async open(options = {}) {
    const [host, port] = this.address.split(':');
    const client = createClient({ RESP: this.RESP, socket: { host, port: Number(port), reconnectStrategy: false }, ...options });
    client.on('error', () => {}); // a broken connection is reported by the command that needed it
    await client.connect();
    this.clients.push(client);
    return client;
  }

  /** A second connection whose name CLIENT LIST shows. */
  async openNamed(label) {
    const name = this.prefix + label;
    return { client: await this.open({ name }), name };
  }

  async close() {
    const client = await this.open();
    if (this.keys.size > 0) await client.del([...this.keys]);
    same(await client.exists([...this.keys, 'proof:none']), 0, 'keys left behind');
    for (const open of this.clients) if (open.isOpen) open.destroy();
  }
}

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MAX_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MAX_MS} ms for ${what}`);
    await pause(5);
  }
}

async function flagsOf(client, name) {
  const list = await client.sendCommand(['CLIENT', 'LIST']);
  const line = list.split('\n').find((l) => l.split(' ').includes(`name=${name}`));
  return line?.match(/ flags=(\S+)/)[1];
}

/** Waits until the named connection sits in a blocking read. */
export const untilBlocked = (client, name) =>
  until(async () => (await flagsOf(client, name))?.includes('b'), `${name} to block`);

/** Waits until the server forgot the named connection. */
export const untilGone = (client, name) =>
  until(async () => (await flagsOf(client, name)) === undefined, `${name} to go`);

/** The release of Redis whose commands the server says it has, as [major, minor]. */
export async function serverVersion(bench) {
  const hello = await (await bench.open()).sendCommand(['HELLO']);
  await bench.close();
  return releaseOf(bench.RESP === 3 ? hello.version : hello[hello.indexOf('version') + 1]);
}

const releaseOf = (version) => version.split('.').slice(0, 2).map(Number);

/** The cases whose release this server has reached; says which ones it has not. */
export function upTo([major, minor], newerCases, label) {
  const reached = newerCases.filter(([since]) => {
    const [wantedMajor, wantedMinor] = releaseOf(since);
    return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  });
  const left = newerCases.length - reached.length;
  if (left > 0) console.log(`${label}: the server is a Redis ${major}.${minor}, so ${left} cases of later releases are left out`);
  return Object.fromEntries(reached.map(([, name, run]) => [name, run]));
}

/** Runs every case on a bench of its own and prints one line each; returns whether all passed. */
export async function prove(label, cases, newBench) {
  let failed = 0;
  for (const [name, run] of Object.entries(cases)) {
    const bench = newBench();
    try {
      await run(bench);
      await bench.close();
      console.log(`ok    ${label}: ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${label}: ${name}\n${error.stack}`);
      await bench.close().catch(() => {});
    }
  }
  console.log(`${label}: ${Object.keys(cases).length - failed} passed, ${failed} failed`);
  return failed === 0;
}

"""A consumer of user events: its own pending entries first, then new ones, acknowledged one by one.

The consumer's name is stable, so that after a restart it finds what it held. History is read with a cursor, so that
an entry which keeps failing cannot hide the ones behind it. An entry is acknowledged only after its handler
returned; one that can never be handled (its data is not JSON) is set aside and acknowledged in one transaction, so
that it is never in both places or in neither.

The same consumer twice: with the synchronous client and with the asyncio one.
"""

import json
from dataclasses import dataclass

import redis


@dataclass(frozen=True)
class Settings:
    stream: str
    dead_letters: str
    group: str
    name: str
    count: int
    dead_letter_reason: str


def entries_of(reply, stream):
    """The entries of one stream in a reply of XREADGROUP, none after a time-out.

    By default, and with RESP2, a reply is a list of pairs; with legacy_responses off it is a dict; with protocol=3
    asked for by name it is a dict whose values are wrapped in one more list.
    """
    entries = dict(reply).get(stream.encode(), [])
    return entries[0] if entries and isinstance(entries[0], list) else entries


def decoded(fields):
    return {name.decode(): value.decode() for name, value in fields.items()}


class Consumer:
    def __init__(self, client, settings, handler):
        self.client, self.settings, self.handler = client, settings, handler

    def set_up_group(self):
        s = self.settings
        try:
            self.client.xgroup_create(s.stream, s.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def turn(self, block):
        """One turn of the consumer's loop. Returns how many entries it saw."""
        return self.process_pending() + self.process_new(block)

    def process_pending(self):
        cursor, seen = "0", 0
        while entries := self._read(cursor):
            for entry_id, fields in entries:
                self._process(entry_id, fields)
            cursor = entries[-1][0]
            seen += len(entries)
        return seen

    def process_new(self, block):
        entries = self._read(">", block)
        for entry_id, fields in entries:
            self._process(entry_id, fields)
        return len(entries)

    def _read(self, start, block=None):
        s = self.settings
        return entries_of(self.client.xreadgroup(s.group, s.name, {s.stream: start}, count=s.count, block=block), s.stream)

    def _process(self, entry_id, fields):
        s = self.settings
        event = decoded(fields)
        try:
            data = json.loads(event["data"])
        except json.JSONDecodeError:
            self._set_aside(entry_id, fields)
            return
        try:
            self.handler(entry_id.decode(), event["eventType"], data)
        except Exception:
            return  # stays pending, and the next turn meets it again
        self.client.xack(s.stream, s.group, entry_id)

    def _set_aside(self, entry_id, fields):
        s = self.settings
        letter = {"originalId": entry_id, "reason": s.dead_letter_reason, **fields}
        with self.client.pipeline(transaction=True) as transaction:
            transaction.xadd(s.dead_letters, letter)
            transaction.xack(s.stream, s.group, entry_id)
            transaction.execute()


class AsyncConsumer:
    def __init__(self, client, settings, handler):
        self.client, self.settings, self.handler = client, settings, handler

    async def set_up_group(self):
        s = self.settings
        try:
            await self.client.xgroup_create(s.stream, s.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def turn(self, block):
        """One turn of the consumer's loop. Returns how many entries it saw."""
        return await self.process_pending() + await self.process_new(block)

    async def process_pending(self):
        cursor, seen = "0", 0
        while entries := await self._read(cursor):
            for entry_id, fields in entries:
                await self._process(entry_id, fields)
            cursor = entries[-1][0]
            seen += len(entries)
        return seen

    async def process_new(self, block):
        entries = await self._read(">", block)
        for entry_id, fields in entries:
            await self._process(entry_id, fields)
        return len(entries)

    async def _read(self, start, block=None):
        s = self.settings
        reply = await self.client.xreadgroup(s.group, s.name, {s.stream: start}, count=s.count, block=block)
        return entries_of(reply, s.stream)

    async def _process(self, entry_id, fields):
        s = self.settings
        event = decoded(fields)
        try:
            data = json.loads(event["data"])
        except json.JSONDecodeError:
            await self._set_aside(entry_id, fields)
            return
        try:
            self.handler(entry_id.decode(), event["eventType"], data)
        except Exception:
            return  # stays pending, and the next turn meets it again
        await self.client.xack(s.stream, s.group, entry_id)

    async def _set_aside(self, entry_id, fields):
        s = self.settings
        letter = {"originalId": entry_id, "reason": s.dead_letter_reason, **fields}
        async with self.client.pipeline(transaction=True) as transaction:
            transaction.xadd(s.dead_letters, letter)
            transaction.xack(s.stream, s.group, entry_id)
            await transaction.execute()

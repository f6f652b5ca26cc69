-- What all scripts share: names of keys, IDs, rows, lanes, dead letters, giving out.
--
-- KEYS[1] is the stream. ARGV[1] is what the names of its side keys begin with, ARGV[2] a group.
-- docs/redis-engine.md draws the keys. A script changes nothing before it has found nothing to refuse.

local call = redis.call
local S, P, G = KEYS[1], ARGV[1], ARGV[2]
local PARKED = 'weir:parked'
local WAITING_MAX = 100000
local LOOKS_MAX = 5000
-- Names and values that a script can hand on in one call, less what a letter says itself. Others may add larger entries:
-- a letter that could not be written would come up again with every read.
local LETTER_TEXTS_MAX = 7500
local ABOVE_ALL = '18446744073709551615-18446744073709551615'
-- Redis refuses these as the bounds of ranges, which are empty.
local NONE_ABOVE, NONE_BELOW = '(' .. ABOVE_ALL, '(0-0'

local kstream = P .. 'stream'
local kmeta, krow, kdue, kready, kwait, kbusy, kgone

-- Which group the functions below are about.
local function use(group)
  G = group
  kmeta, krow, kdue = P .. 'group:' .. G, P .. 'rows:' .. G, P .. 'delayed:' .. G
  kready, kwait, kbusy = P .. 'ready:' .. G, P .. 'waiting:' .. G, P .. 'busy:' .. G
  kgone = P .. 'gone:' .. G
end
use(G)

local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function int(n)
  return string.format('%.0f', n)
end

-- IDs are texts: their parts need not fit into a number. Padded, they are in order as texts.
local function pad(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

local function unpad(padded)
  local ms, seq = string.match(padded, '^0*(%d+)-0*(%d+)$')
  return ms .. '-' .. seq
end

local function is_less(a, b)
  return pad(a) < pad(b)
end

local function ms_of(id)
  return tonumber(string.match(id, '^(%d+)-'))
end

-- A reply of names and values, as a table.
local function named(flat)
  local t = {}
  for i = 1, #flat, 2 do
    t[flat[i]] = flat[i + 1]
  end
  return t
end

local function has_stream()
  return call('EXISTS', S) == 1
end

-- All groups of the stream by name; none when there is no stream.
local function groups_of_stream()
  local found = {}
  if has_stream() then
    for _, flat in ipairs(call('XINFO', 'GROUPS', S)) do
      local group = named(flat)
      found[group.name] = group
    end
  end
  return found
end

local function no_group()
  return redis.error_reply('NOGROUP no such stream or consumer group')
end

-- One for all that this script gives out: it gives no entry out twice.
local epoch_now
local function next_epoch()
  if not epoch_now then
    local last = tonumber(call('HGET', kstream, 'epoch') or 0)
    epoch_now = int(math.max(last + 1, now))
    call('HSET', kstream, 'epoch', epoch_now)
  end
  return epoch_now
end

-- The epoch of a first delivery is not written down with the row: it follows from where the group was moved to, and when.
-- bases = 'ID epoch,ID epoch,...', rising in both: entries above the ID have the epoch.
local only_base, only_base_of
local function base_of(bases, id)
  if bases == only_base_of and only_base then return only_base end
  if not bases or not string.find(bases, ',', 1, true) then
    only_base, only_base_of = bases and string.match(bases, ' (%d+)$') or '0', bases
    return only_base
  end
  local base, padded = '0', pad(id)
  for from, epoch in string.gmatch(bases, '(%d+%-%d+) (%d+)') do
    if pad(from) < padded then base = epoch end
  end
  return base
end

local owner_marks = {}
local function mark_of(owner)
  local mark = owner_marks[owner]
  if not mark then
    mark = tonumber(string.sub(redis.sha1hex(owner), 1, 3), 16)
    owner_marks[owner] = mark
  end
  return mark
end

-- Rows. What Redis' own pending list cannot hold stands in a hash, for rows that need it:
-- e epoch, f failures, fc fr fa first failure, lc lr la last failure, r redrives, k key,
-- s state (r ready, d delayed, w waiting; none = in flight), u until, g deliveries of a row whose entry is gone.
local function row(id)
  local packed = call('HGET', krow, id)
  return packed and cmsgpack.unpack(packed)
end

local function put(id, r)
  if next(r) == nil then
    call('HDEL', krow, id)
  else
    call('HSET', krow, id, cmsgpack.pack(r))
  end
end

-- A row that nobody holds and whose entry is gone cannot stay on Redis' list: claiming it for the broker drops it. It
-- stays in the hash and in a sorted set, and `g` says how often it was given out.
local function gone_row(padded)
  local id = unpad(padded)
  return { id, PARKED, 0, row(id).g }
end

local function held(id)
  local p = call('XPENDING', S, G, id, id, 1)[1]
  if not p and call('ZSCORE', kgone, pad(id)) then p = gone_row(pad(id)) end
  return p
end

-- Rows by ID from `at` on (an ID, '(' and an ID, '-'), up to `to`: those of Redis' list and those whose entries are gone.
local function page_of(at, to, count)
  if at == NONE_ABOVE then return {} end
  local page = call('XPENDING', S, G, at, to, count)
  if call('EXISTS', kgone) == 0 then return page end
  local from = at == '-' and '-' or string.sub(at, 1, 1) == '(' and '(' .. pad(string.sub(at, 2)) or '[' .. pad(at)
  local upto = to == '+' and '+' or '[' .. pad(to)
  local gone = call('ZRANGEBYLEX', kgone, from, upto, 'LIMIT', 0, count)
  local merged, i, j = {}, 1, 1
  while #merged < count and (page[i] or gone[j]) do
    if page[i] and (not gone[j] or pad(page[i][1]) < gone[j]) then
      merged[#merged + 1], i = page[i], i + 1
    else
      merged[#merged + 1], j = gone_row(gone[j]), j + 1
    end
  end
  return merged
end

local function ack(ids)
  local n = 0
  for i = 1, #ids, 4000 do
    n = n + call('XACK', S, G, unpack(ids, i, math.min(i + 3999, #ids)))
  end
  return n
end

local function lane(key)
  return string.format('%08x', #key) .. key
end

local function unpark(id, r)
  if r.s == 'r' then
    call('ZREM', kready, pad(id))
  elseif r.s == 'd' then
    call('ZREM', kdue, pad(id))
  elseif r.s == 'w' then
    call('ZREM', kwait, lane(r.k) .. pad(id))
    call('HINCRBY', kbusy, r.k, 1)
  end
  r.s, r.u = nil, nil
end

-- What became ready in this script since it waited for a key: it comes with the next read.
local let_go = {}

-- An entry whose key was busy leaves the list: the lowest one that waits for it is next.
local function free_key(key)
  if call('HINCRBY', kbusy, key, -1) > 0 then return end
  call('HDEL', kbusy, key)
  local from = lane(key)
  local first = call('ZRANGEBYLEX', kwait, '[' .. from, '(' .. from .. ':', 'LIMIT', 0, 1)[1]
  if not first then return end
  local id = unpad(string.sub(first, #from + 1))
  local r = row(id) or { k = key, s = 'w' }
  unpark(id, r)
  r.s = 'r'
  put(id, r)
  call('ZADD', kready, 0, pad(id))
  let_go[id] = true
end

-- The row is off the list: nothing is kept of it.
local function forget(id, r)
  if not r then return end
  local key = r.k
  unpark(id, r)
  call('HDEL', krow, id)
  if r.g then call('ZREM', kgone, pad(id)) end
  if key then free_key(key) end
end

-- The row is the broker's, and counts so many deliveries.
local function take_back(id, r, deliveries)
  if #call('XCLAIM', S, G, PARKED, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID') == 0 then
    call('XACK', S, G, id)
    call('ZADD', kgone, 0, pad(id))
    r.g = deliveries
  end
end

-- Nobody holds the row any more.
local function park(id, r, deliveries, until_ms)
  take_back(id, r, deliveries)
  unpark(id, r)
  if until_ms and until_ms > now then
    r.s, r.u = 'd', int(until_ms)
    call('ZADD', kdue, r.u, pad(id))
  else
    r.s = 'r'
    call('ZADD', kready, 0, pad(id))
  end
  put(id, r)
end

-- What is due becomes ready. Answers when the next one is.
local function promote()
  repeat
    local due = call('ZRANGEBYSCORE', kdue, '-inf', now, 'LIMIT', 0, 500)
    for _, padded in ipairs(due) do
      local id = unpad(padded)
      local r = row(id)
      call('ZREM', kdue, padded)
      if r and r.s == 'd' then
        r.s, r.u = 'r', nil
        put(id, r)
        call('ZADD', kready, 0, padded)
      end
    end
  until #due < 500
  return call('ZRANGE', kdue, 0, 0, 'WITHSCORES')[2]
end

-- In which state a row is: its owner may have been changed by a client that knows nothing of rows.
local function state_of(p, r)
  if p[2] == PARKED then return r and r.s or 'r' end
  if r and r.s then
    unpark(p[1], r)
    put(p[1], r)
  end
  return nil
end

local policy_names = { 'failures_max', 'deliveries_max', 'backoff', 'lease', 'dead', 'key', 'filter', 'required',
  'retry_for', 'reset', 'pause', 'bases' }
local function policy_of()
  local values = call('HMGET', kmeta, unpack(policy_names))
  local p = {}
  for i, name in ipairs(policy_names) do
    p[name] = values[i] or nil
  end
  p.failures_max, p.deliveries_max = tonumber(p.failures_max), tonumber(p.deliveries_max)
  p.lease, p.retry_for = tonumber(p.lease), tonumber(p.retry_for)
  return p
end

local function pause_end(policy)
  if not policy.pause then return nil end
  if policy.pause == 'inf' then return 'inf' end
  if tonumber(policy.pause) > now then return policy.pause end
  call('HDEL', kmeta, 'pause')
  return nil
end

-- Texts of any bytes in one text: length, colon, bytes, again and again.
local function texts(packed)
  local found, at = {}, 1
  while at <= #packed do
    local colon = string.find(packed, ':', at, true)
    local length = tonumber(string.sub(packed, at, colon - 1))
    found[#found + 1] = string.sub(packed, colon + 1, colon + length)
    at = colon + length + 1
  end
  return found
end

local aliases = {
  type = { 'type', 'eventType', 'event_type', 'event' },
  tenant = { 'tenant', 'tenantId', 'tenant_id', 'brand', 'brandId', 'brand_id' },
}

local function first_value(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
  return nil
end

-- A filter is a list of conditions: kind of name, name, test, number of values, values.
local function conditions_of(filter)
  local words, found, at = texts(filter), {}, 1
  while at <= #words do
    local names = aliases[words[at]] or { words[at + 1] }
    local condition = { names = names, test = words[at + 2], values = {} }
    local n = tonumber(words[at + 3])
    for i = 1, n do
      condition.values[i] = words[at + 3 + i]
    end
    found[#found + 1] = condition
    at = at + 4 + n
  end
  return found
end

local function meets(condition, fields)
  local value
  for _, name in ipairs(condition.names) do
    value = first_value(fields, name)
    if value then break end
  end
  if not value then return false end
  for _, wanted in ipairs(condition.values) do
    if condition.test == 'prefix' then
      if string.sub(value, 1, #wanted) == wanted then return true end
    elseif value == wanted then
      return true
    end
  end
  return false
end

local function matches(conditions, fields)
  for _, condition in ipairs(conditions) do
    if not meets(condition, fields) then return false end
  end
  return true
end

-- Entries settled for good, in this and the last half minute: lag tells a rate from them.
local function note_drained(n)
  if n == 0 then return end
  local half = math.floor(now / 30000)
  local c = call('HMGET', kmeta, 'drain_half', 'drain_now')
  if tonumber(c[1] or -1) == half then
    call('HINCRBY', kmeta, 'drain_now', n)
  else
    local before = tonumber(c[1] or -1) == half - 1 and c[2] or '0'
    call('HSET', kmeta, 'drain_half', int(half), 'drain_before', before, 'drain_now', n)
  end
end

-- The entry becomes a dead letter in the same moment as its row leaves the list.
local function bury(p, r, policy, class, reason)
  local id = p[1]
  local entry = call('XRANGE', S, id, id)[1]
  local fields = entry and entry[2] or {}
  local letter = { 'weir-stream', S, 'weir-group', G, 'weir-id', id }
  local function add(name, value)
    letter[#letter + 1] = name
    letter[#letter + 1] = value
  end
  if p[2] ~= PARKED then add('weir-consumer', p[2]) end
  add('weir-deliveries', p[4])
  add('weir-failures', int(r.f or 0))
  add('weir-redrives', int(r.r or 0))
  if r.fa then
    add('weir-first-class', r.fc)
    add('weir-first-reason', r.fr)
    add('weir-first-at', r.fa)
  end
  add('weir-last-class', class)
  add('weir-last-reason', reason)
  add('weir-last-at', int(now))
  local texts_kept = math.min(#fields, LETTER_TEXTS_MAX)
  add('weir-fields', int(texts_kept / 2))
  for i = 1, texts_kept do
    letter[#letter + 1] = fields[i]
  end
  call('XADD', policy.dead, '*', unpack(letter))
  call('XACK', S, G, id)
  forget(id, r)
end

local function failure_of(r)
  return { r.f or 0, r.r or 0, r.fa or false, r.fc or '', r.fr or '', r.la or false, r.lc or '', r.lr or '' }
end

-- Gives rows of the pending list to a consumer: {id, owner, idle, deliveries}, as XPENDING has them. Those given out too
-- often become dead letters, those whose entries are gone are dropped and put into `gone`.
local function give(consumer, rows, policy, out, gone)
  local ids, records = {}, {}
  for _, p in ipairs(rows) do
    local id, r = p[1], row(p[1]) or {}
    local is_dead = policy.deliveries_max and p[4] >= policy.deliveries_max
    if is_dead and #call('XRANGE', S, id, id) > 0 then
      bury(p, r, policy, 'max-deliveries', 'given out too often')
      note_drained(1)
    else
      ids[#ids + 1] = id
      records[id] = { r = r, deliveries = p[4] + 1 }
    end
  end
  if #ids == 0 then return end
  local epoch = next_epoch()
  for at = 1, #ids, 500 do
    local upto = math.min(at + 499, #ids)
    local args = { 'XCLAIM', S, G, consumer, 0 }
    for i = at, upto do
      args[#args + 1] = ids[i]
    end
    for _, entry in ipairs(call(unpack(args))) do
      local id = entry and entry[1]
      if id and entry[2] then
        local record = records[id]
        local r = record.r
        unpark(id, r)
        r.e = epoch
        put(id, r)
        out[#out + 1] = { id, entry[2], epoch, record.deliveries, failure_of(r) }
        records[id] = nil
      end
    end
  end
  for _, id in ipairs(ids) do
    if records[id] then
      call('XACK', S, G, id)
      forget(id, records[id].r)
      gone[#gone + 1] = id
    end
  end
end

-- Makes the consumer, and notes that it asked: its history above the last ID but one is empty, unless it holds the very
-- last one. (Of the last ID itself Redis makes what `>` means.)
local function touch(consumer)
  if #call('XPENDING', S, G, ABOVE_ALL, ABOVE_ALL, 1, consumer) == 0 then
    call('XREADGROUP', 'GROUP', G, consumer, 'COUNT', 1, 'STREAMS', S, '18446744073709551615-18446744073709551614')
  end
end

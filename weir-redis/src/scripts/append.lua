-- Appends entries: all or none. ARGV: prefix, '', expected ('' any, '-' none, else the version), producer, number of
-- entries; per entry ID or '*', append ID, number of texts, names and values.
-- Answers per entry {ID, 1 when the producer had appended it before}.
local IDS_MAX, IDS_FOR_MS = 10000, 3600000
local expected, producer, n = ARGV[3], ARGV[4], tonumber(ARGV[5])
local kids, korder = P .. 'appends:' .. producer, P .. 'append-order:' .. producer

local function increment(digits)
  local zeros = 0
  for i = #digits, 1, -1 do
    local digit = string.byte(digits, i) - 48
    if digit < 9 then
      return string.sub(digits, 1, i - 1) .. (digit + 1) .. string.rep('0', zeros)
    end
    zeros = zeros + 1
  end
  return '1' .. string.rep('0', zeros)
end

local function after(last)
  local ms, seq = string.match(last, '^(%d+)-(%d+)$')
  if now > tonumber(ms) then return int(now) .. '-0' end
  if seq == '18446744073709551615' then return increment(ms) .. '-0' end
  return ms .. '-' .. increment(seq)
end

local entries, at, known, fresh, has_ids = {}, 6, {}, 0, false
for i = 1, n do
  local count = tonumber(ARGV[at + 2])
  local e = { id = ARGV[at], append = ARGV[at + 1], from = at + 3, to = at + 2 + count }
  if e.append ~= '' then
    local before = known[e.append] or call('HGET', kids, e.append)
    e.before = before
    if not before then known[e.append] = i end
  end
  if not e.before then
    fresh = fresh + 1
    has_ids = has_ids or e.id ~= '*'
  end
  entries[i], at = e, e.to + 1
end

if fresh > 0 and (expected ~= '' or has_ids or n > 1) then
  local kind = call('TYPE', S).ok
  if kind ~= 'stream' and kind ~= 'none' then return redis.error_reply('WRONGTYPE not a stream') end
  local info = kind == 'stream' and named(call('XINFO', 'STREAM', S)) or nil
  local added = info and info['entries-added'] or 0
  if expected ~= '' then
    local is_met = added == 0 and expected == '-' or added > 0 and expected == int(added - 1)
    if not is_met then
      return redis.error_reply('WEIRVERSION ' .. (added > 0 and int(added - 1) or '-'))
    end
  end
  local last = info and info['last-generated-id'] or '0-0'
  for _, e in ipairs(entries) do
    if not e.before then
      if e.id == '0-0' then return redis.error_reply('WEIRIDZERO -') end
      if last == ABOVE_ALL then return redis.error_reply('WEIREXHAUSTED -') end
      if e.id == '*' then
        -- The clock goes on while entries are added: what was checked is what is added.
        last = after(last)
        e.id = last
      else
        if not is_less(last, e.id) then return redis.error_reply('WEIRNOTGREATER ' .. last) end
        last = e.id
      end
    end
  end
end

local replies = {}
for i, e in ipairs(entries) do
  if e.before then
    replies[i] = { type(e.before) == 'number' and replies[e.before][1] or e.before, 1 }
  else
    local id = call('XADD', S, e.id, unpack(ARGV, e.from, e.to))
    replies[i] = { id, 0 }
    if e.append ~= '' then
      call('HSET', kids, e.append, id)
      call('RPUSH', korder, e.append)
    end
  end
end

if producer ~= '' and fresh > 0 then
  local surplus = call('LLEN', korder) - IDS_MAX
  while surplus > 0 do
    local oldest = call('LPOP', korder, math.min(surplus, 4000))
    call('HDEL', kids, unpack(oldest))
    surplus = surplus - #oldest
  end
  call('PEXPIRE', kids, IDS_FOR_MS)
  call('PEXPIRE', korder, IDS_FOR_MS)
  local kproducers = P .. 'producers'
  call('ZADD', kproducers, now, producer)
  call('ZREMRANGEBYSCORE', kproducers, '-inf', now - IDS_FOR_MS)
end
if fresh > 0 then enforce() end
return replies

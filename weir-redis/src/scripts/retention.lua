-- How much of a stream is kept, what a required group holds back, and what is lost all the same.

-- Calls `each` with pages of entries from the first one on, until it answers false.
local function walk(from, to, each)
  local at = from
  while at ~= NONE_ABOVE and to ~= NONE_BELOW do
    local page = call('XRANGE', S, at, to, 'COUNT', 500)
    for _, entry in ipairs(page) do
      if each(entry) == false then return end
    end
    if #page < 500 then return end
    at = '(' .. page[#page][1]
  end
end

local function size_of(entry)
  local bytes = 0
  for _, text in ipairs(entry[2]) do
    bytes = bytes + #text
  end
  return bytes
end

-- The bytes of all entries. They are remembered, with what they were counted of; when others have deleted entries
-- since, they are counted again.
local function stream_bytes()
  local c = P ~= '' and call('HMGET', kstream, 'counted', 'counted_entries', 'counted_to') or {}
  local length = call('XLEN', S)
  local bytes, entries, last = tonumber(c[1] or 0), tonumber(c[2] or 0), c[3] or '0-0'
  local function add(entry)
    bytes, entries, last = bytes + size_of(entry), entries + 1, entry[1]
  end
  walk('(' .. last, '+', add)
  if entries ~= length then
    bytes, entries, last = 0, 0, '0-0'
    walk('-', '+', add)
  end
  if P ~= '' then
    call('HSET', kstream, 'counted', int(bytes), 'counted_entries', int(entries), 'counted_to', last)
  end
  return bytes
end

-- Removes the oldest `n` entries.
local function cut(n, total)
  if n <= 0 then return end
  if P ~= '' and call('HEXISTS', kstream, 'counted') == 1 then
    local left, bytes = n, 0
    walk('-', '+', function(entry)
      if left == 0 then return false end
      left, bytes = left - 1, bytes + size_of(entry)
    end)
    call('HINCRBY', kstream, 'counted', int(-bytes))
    call('HINCRBY', kstream, 'counted_entries', int(-n))
  end
  call('XTRIM', S, 'MAXLEN', '=', int(total - n))
end

-- How many of the oldest entries are beyond these limits.
local function beyond(total, limits)
  local by_length = limits.length and math.max(0, total - limits.length) or 0
  if limits.min then
    local below = 0
    walk('-', '(' .. limits.min, function() below = below + 1 end)
    by_length = math.max(by_length, below)
  end
  if not limits.bytes and not limits.since then return by_length end
  local bytes, n = limits.bytes and stream_bytes() or 0, 0
  walk('-', '+', function(entry)
    local is_over = n < by_length or (limits.bytes and bytes > limits.bytes)
      or (limits.since and ms_of(entry[1]) < limits.since)
    if not is_over then return false end
    n, bytes = n + 1, bytes - size_of(entry)
  end)
  return n
end

-- The required groups with the first entry that each has not acknowledged; the lowest of these holds all trims.
local function required_groups()
  local names = call('SMEMBERS', P .. 'required')
  if #names == 0 then return {}, nil, nil end
  local found, lowest, holder = {}, nil, nil
  local there, before = groups_of_stream(), G
  table.sort(names)
  for _, name in ipairs(names) do
    local group = there[name]
    if group then
      local filter = call('HGET', P .. 'group:' .. name, 'filter')
      local conditions = filter and conditions_of(filter)
      local last, first = group['last-delivered-id'], nil
      walk('(' .. last, '+', function(entry)
        if not conditions or matches(conditions, entry[2]) then
          first = entry[1]
          return false
        end
      end)
      use(name)
      local pending = page_of('-', '+', 1)[1]
      if pending and (not first or is_less(pending[1], first)) then first = pending[1] end
      found[#found + 1] = { name = name, last = last, conditions = conditions }
      if first and (not lowest or is_less(first, lowest)) then lowest, holder = first, name end
    end
  end
  use(before)
  return found, lowest, holder
end

-- How many of the oldest `n` entries lie below the guard.
local function below_guard(n, guard)
  if n == 0 or not guard then return n end
  local below, padded = 0, pad(guard)
  walk('-', '+', function(entry)
    if below == n or pad(entry[1]) >= padded then return false end
    below = below + 1
  end)
  return below
end

-- Lists an entry as lost for each required group that never acknowledged it, and takes it off their lists.
local function lose(entry, required, lost_stream)
  local before = G
  for _, group in ipairs(required) do
    use(group.name)
    local id, was = entry[1], nil
    if held(id) then
      was = 'pending'
      call('XACK', S, G, id)
      forget(id, row(id))
    elseif is_less(group.last, id) and (not group.conditions or matches(group.conditions, entry[2])) then
      was = 'undelivered'
    end
    if was then
      call('XADD', lost_stream, '*', 'group', G, 'id', id, 'was', was, 'at', int(now))
    end
  end
  use(before)
end

local function alert(level, holder, kept, hold)
  local fields = { 'kind', 'retention-held', 'stream', S, 'group', holder, 'level', level, 'held', int(kept) }
  if hold then
    fields[#fields + 1] = 'hold'
    fields[#fields + 1] = int(hold)
  end
  fields[#fields + 1] = 'at'
  fields[#fields + 1] = int(now)
  call('XADD', call('HGET', kstream, 'side') .. ':alerts', '*', unpack(fields))
end

-- Alerts stand in order of their levels, each once until nothing is held any more.
local function note_held(kept, hold, holder, level_before)
  if kept == 0 then
    if level_before then call('HDEL', kstream, 'level') end
    return
  end
  local level = tonumber(level_before or -1)
  for _, step in ipairs({ 0, 50, 80, 100 }) do
    local is_reached = step == 0 or (hold and kept * 100 >= hold * step)
    if is_reached and step > level then
      alert(step, holder, kept, hold)
      level = step
    end
  end
  call('HSET', kstream, 'level', level)
end

-- Keeps the limits that are stored with the stream.
local function enforce()
  if P == '' then return end
  local c = call('HMGET', kstream, 'length', 'bytes', 'age', 'hold', 'level')
  if not (c[1] or c[2] or c[3]) then
    -- Nothing is beyond a limit, so nothing is held.
    if c[5] then call('HDEL', kstream, 'level') end
    return
  end
  local limits = { length = tonumber(c[1] or nil), bytes = tonumber(c[2] or nil), since = c[3] and now - tonumber(c[3]) }
  local total = call('XLEN', S)
  local n = beyond(total, limits)
  if n == 0 and not c[5] then return end
  local hold, holder = tonumber(c[4] or nil), nil
  while true do
    local required, guard, who = required_groups()
    local free = below_guard(n, guard)
    cut(free, total)
    n, total, holder = n - free, total - free, who
    if not hold or n <= hold then break end
    -- What is lost may be all that held back those behind it.
    lose(call('XRANGE', S, '-', '+', 'COUNT', 1)[1], required, call('HGET', kstream, 'side') .. ':lost')
    cut(1, total)
    n, total = n - 1, total - 1
  end
  note_held(n, hold, holder or '', c[5])
end

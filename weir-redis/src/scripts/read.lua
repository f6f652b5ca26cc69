-- Gives a consumer entries. ARGV: prefix, group, consumer, source (new, reclaimed, available, history), count, idle_min
-- ('' = the lease), after, 1 to read while paused.
-- Answers {what next, now, lease, mark of the consumer, when something is due, last-delivered ID, deliveries}.
-- What next: 'done', 'more' (ask again at once), 'next' (the next read is given something, so who waits asks again at
-- once), 'paused', 'full' (too much waits for busy keys).
local consumer, source, count = ARGV[3], ARGV[4], tonumber(ARGV[5])
local policy = policy_of()
local out, gone, looked, state = {}, {}, 0, 'done'
local given = {}
local due = promote()

local function give_once(rows)
  local fresh = {}
  for _, p in ipairs(rows) do
    if not given[p[1]] then
      given[p[1]] = true
      fresh[#fresh + 1] = p
    end
  end
  looked = looked + #fresh
  give(consumer, fresh, policy, out, gone)
end

local function give_ready()
  local at = '-'
  while #out < count do
    if looked >= LOOKS_MAX then
      state = 'more'
      return
    end
    local page = call('ZRANGEBYLEX', kready, at, '+', 'LIMIT', 0, math.min(count - #out, 500))
    if #page == 0 then return end
    at = '(' .. page[#page]
    local rows = {}
    for _, padded in ipairs(page) do
      local id = unpad(padded)
      local p = held(id)
      if p and p[2] == PARKED then
        if not let_go[id] then rows[#rows + 1] = p end
      else
        -- Somebody who knows nothing of rows took it or settled it.
        local r = row(id)
        call('ZREM', kready, padded)
        if r and p then state_of(p, r) elseif r then forget(id, r) end
      end
    end
    give_once(rows)
  end
end

-- Rows that were held for so long, from `at` on, lowest first. Where much is parked (behind a busy key, say), it is not
-- looked through: each consumer is asked for what it holds.
local PARKED_MAX = 500
local function idle_page(idle_min, at, n)
  if call('ZCARD', kwait) + call('ZCARD', kdue) <= PARKED_MAX then
    return call('XPENDING', S, G, 'IDLE', idle_min, at, '+', n)
  end
  local found = {}
  for _, holder in ipairs(call('XPENDING', S, G)[4] or {}) do
    if holder[1] ~= PARKED then
      for _, p in ipairs(call('XPENDING', S, G, 'IDLE', idle_min, at, '+', n, holder[1])) do
        found[#found + 1] = p
      end
    end
  end
  table.sort(found, function(a, b) return is_less(a[1], b[1]) end)
  for i = #found, n + 1, -1 do
    found[i] = nil
  end
  return found
end

local function give_idle()
  local idle_min = ARGV[6] ~= '' and tonumber(ARGV[6]) or policy.lease
  if not idle_min then return end
  local at = '-'
  while #out < count do
    if at == NONE_ABOVE then return end
    if looked >= LOOKS_MAX then
      state = 'more'
      return
    end
    local page = idle_page(idle_min, at, math.min(count - #out + 16, 500))
    local rows = {}
    for _, p in ipairs(page) do
      if #out + #rows >= count then break end
      if p[2] ~= PARKED then
        state_of(p, row(p[1]))
        rows[#rows + 1] = p
      end
      at = '(' .. p[1]
    end
    give_once(rows)
    if #page == 0 then return end
  end
end

local function give_history(after)
  local at = '(' .. after
  while #out < count and at ~= NONE_ABOVE do
    local page = call('XPENDING', S, G, at, '+', math.min(count - #out, 500), consumer)
    if #page == 0 then return end
    at = '(' .. page[#page][1]
    give_once(page)
    if looked >= LOOKS_MAX and #out < count then
      state = 'more'
      return
    end
  end
end

local function add_new(entry, bases, r)
  out[#out + 1] = { entry[1], entry[2], base_of(bases, entry[1]), 1, false }
end

-- A row of before may be left when a client that knows nothing of rows moved the group back.
local function clean(entries)
  if call('HLEN', krow) == 0 then return end
  for _, entry in ipairs(entries) do
    forget(entry[1], row(entry[1]))
  end
end

local function take_new(n)
  local reply = call('XREADGROUP', 'GROUP', G, consumer, 'COUNT', n, 'STREAMS', S, '>')
  return reply and reply[1] and reply[1][2] or {}
end

local function give_new_plain()
  local entries = take_new(count - #out)
  clean(entries)
  for _, entry in ipairs(entries) do
    add_new(entry, policy.bases)
  end
end

-- One that the group sees: given to the reader, or put behind the one before it with its key.
local function give_or_keep_back(entry, to_park)
  local key = policy.key and first_value(entry[2], policy.key)
  if not key then
    add_new(entry, policy.bases)
    return
  end
  local r = { k = key }
  if call('HEXISTS', kbusy, key) == 1 then
    r.s = 'w'
    to_park[#to_park + 1] = entry[1]
    call('ZADD', kwait, 0, lane(key) .. pad(entry[1]))
  else
    call('HINCRBY', kbusy, key, 1)
    add_new(entry, policy.bases)
  end
  put(entry[1], r)
end

local function give_new_chosen()
  local conditions = policy.filter and conditions_of(policy.filter)
  local last = groups_of_stream()[G]['last-delivered-id']
  local filtered, waiting = 0, policy.key and call('ZCARD', kwait) or 0
  while #out < count and last ~= ABOVE_ALL do
    if looked >= LOOKS_MAX then
      state = 'more'
      break
    end
    if waiting >= WAITING_MAX then
      state = 'full'
      break
    end
    -- No more is taken than is needed: an entry that is taken and not wanted would have to be put back.
    local page = call('XRANGE', S, '(' .. last, '+', 'COUNT', conditions and 200 or count - #out)
    if #page == 0 then break end
    local wanted, n = 0, 0
    for _, entry in ipairs(page) do
      n = n + 1
      if not conditions or matches(conditions, entry[2]) then wanted = wanted + 1 end
      if wanted == count - #out then break end
    end
    local entries, to_ack, to_park = take_new(n), {}, {}
    clean(entries)
    for _, entry in ipairs(entries) do
      if conditions and not matches(conditions, entry[2]) then
        to_ack[#to_ack + 1] = entry[1]
      else
        give_or_keep_back(entry, to_park)
      end
    end
    ack(to_ack)
    filtered = filtered + #to_ack
    for _, id in ipairs(to_park) do
      call('XCLAIM', S, G, PARKED, 0, id, 'RETRYCOUNT', 0, 'JUSTID')
    end
    waiting, looked, last = waiting + #to_park, looked + n, page[n][1]
  end
  if filtered > 0 then call('HINCRBY', kmeta, 'filtered', filtered) end
end

local function give_new()
  if state == 'more' or #out >= count then return end
  if policy.filter or policy.key then give_new_chosen() else give_new_plain() end
end

local pause = pause_end(policy)
if pause and ARGV[8] ~= '1' then
  touch(consumer)
  return { 'paused', int(now), '', 0, pause, '', {} }
end
if source == 'history' then
  touch(consumer)
  give_history(ARGV[7])
else
  if source == 'new' and (policy.filter or policy.key) or source ~= 'new' then touch(consumer) end
  if count > 0 then
    if source ~= 'new' then
      give_ready()
      if state == 'done' then give_idle() end
    end
    if source ~= 'reclaimed' then give_new() end
  end
end

local last = ''
if #out == 0 and source ~= 'history' then
  if source == 'new' then touch(consumer) end
  local group = groups_of_stream()[G]
  if not group then return no_group() end
  last = group['last-delivered-id']
  if state ~= 'more' and next(let_go) then state = 'next' end
end
return { state, int(now), policy.lease and int(policy.lease) or '', mark_of(consumer), due or '', last, out }

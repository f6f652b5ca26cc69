-- Settles deliveries, one after the other. ARGV: prefix, group, lowest and highest ID, then per settlement: ID, token (''
-- none, else epoch:mark:deliveries), kind (a ack, n nak, r release, t term, e extend), delay in ms ('' none), class,
-- reason.
-- Answers a text with a letter for each: d done, l dead letter, s stale, n not pending.
local policy = policy_of()
local n = (#ARGV - 4) / 6
local has_rows = call('EXISTS', krow) == 1
local stale, drained = 0, 0

-- The pending rows of the whole range in one call; what is above those it gave is looked up by itself.
local rows, taken, whole_to = {}, {}, nil
do
  local asked = n * 2 + 16
  local page = page_of(ARGV[3], ARGV[4], asked)
  for _, p in ipairs(page) do
    rows[p[1]] = p
  end
  if #page == asked then whole_to = pad(page[#page][1]) end
end

local function find(id)
  if taken[id] then return nil end
  return rows[id] or whole_to and pad(id) > whole_to and held(id) or nil
end

local function modulo(digits, by)
  local rest = 0
  for i = 1, #digits do
    rest = (rest * 10 + string.byte(digits, i) - 48) % by
  end
  return rest
end

-- As Backoff::delay_millis: whole numbers below 2^53 at every step.
local function backoff(id, failures)
  if not policy.backoff then return 0 end
  local kind, list = string.match(policy.backoff, '^(%a+) (.*)$')
  local numbers = {}
  for number in string.gmatch(list, '%d+') do
    numbers[#numbers + 1] = tonumber(number)
  end
  if kind == 'list' then return numbers[math.min(failures, #numbers)] or 0 end
  local first, factor, max, jitter = unpack(numbers)
  local wait = math.min(first, max)
  for _ = 2, failures do
    if wait == 0 or wait >= max then break end
    local longer = math.floor(wait * factor / 100)
    if longer == wait then break end
    wait = math.min(longer, max)
  end
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  local draw = (modulo(ms, 1000003) * 7919 + modulo(seq, 1000003) * 104729 + failures * 1299709) % 1000
  return wait - math.floor(wait * jitter * draw / 100000)
end

local function count_failure(r, class, reason)
  if policy.reset and r.la and r.lc ~= class then
    r.f, r.fa, r.fc, r.fr = 0, nil, nil, nil
  end
  r.f = (r.f or 0) + 1
  r.la, r.lc, r.lr = int(now), class, reason
  if not r.fa then r.fa, r.fc, r.fr = r.la, class, reason end
end

local function is_exhausted(r)
  if not policy.failures_max then return false end
  if r.f >= policy.failures_max then return true end
  return policy.retry_for and now - tonumber(r.fa) > policy.retry_for
end

local to_ack = {}
local function take_off(p, r)
  to_ack[#to_ack + 1] = p[1]
  taken[p[1]] = true
  forget(p[1], r)
  drained = drained + 1
  return 'd'
end

local function flush()
  if #to_ack > 0 then
    ack(to_ack)
    to_ack = {}
  end
end

local function park_now(p, r, deliveries, until_ms)
  flush()
  if r.s == 'w' then
    -- What waits for an earlier entry goes on waiting.
    take_back(p[1], r, deliveries)
    put(p[1], r)
  else
    park(p[1], r, deliveries, until_ms)
  end
  rows[p[1]] = held(p[1])
  return 'd'
end

local function bury_now(p, r, class, reason)
  flush()
  bury(p, r, policy, class, reason)
  taken[p[1]] = true
  drained = drained + 1
  return 'l'
end

local function nak(p, r, delay, class, reason)
  r = r or {}
  count_failure(r, class, reason)
  if is_exhausted(r) then return bury_now(p, r, class, reason) end
  local wait = delay ~= '' and tonumber(delay) or backoff(p[1], r.f)
  return park_now(p, r, p[4], now + wait)
end

local function release(p, r, delay)
  return park_now(p, r or {}, math.max(0, p[4] - 1), delay ~= '' and now + tonumber(delay) or nil)
end

local function term(p, r, class, reason)
  if not policy.failures_max then return take_off(p, r) end
  r = r or {}
  count_failure(r, class, reason)
  return bury_now(p, r, class, reason)
end

local function extend(p)
  if #call('XRANGE', S, p[1], p[1]) > 0 then
    call('XCLAIM', S, G, p[2], 0, p[1], 'IDLE', 0, 'JUSTID')
  end
  return 'd'
end

local function token_of(p, r)
  return (r and r.e or base_of(policy.bases, p[1])) .. ':' .. mark_of(p[2]) .. ':' .. (p[4] % 256)
end

local function settle(at)
  local id, token, kind = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local p = find(id)
  if not p then return 'n' end
  local r = has_rows and row(id)
  local state = r and state_of(p, r) or (p[2] == PARKED and 'r' or nil)
  if (token ~= '' and (state or token_of(p, r) ~= token)) or (kind == 'e' and state) then
    if token ~= '' then stale = stale + 1 end
    return 's'
  end
  if kind == 'a' then return take_off(p, r) end
  has_rows = true
  if kind == 'n' then return nak(p, r, ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]) end
  if kind == 'r' then return release(p, r, ARGV[at + 3]) end
  if kind == 't' then return term(p, r, ARGV[at + 4], ARGV[at + 5]) end
  return extend(p)
end

if has_rows then promote() end
local replies = {}
for i = 1, n do
  replies[i] = settle(5 + (i - 1) * 6)
end
flush()
note_drained(drained)
if stale > 0 then call('HINCRBY', kmeta, 'stale', stale) end
return table.concat(replies)

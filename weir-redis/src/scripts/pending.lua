-- Rows of the pending list. ARGV: prefix, group, consumer ('' = all), idle_min ('' = all), start, end, count.
-- Answers per row {ID, owner ('' none), state, until, idle, deliveries, failure}.
local consumer, idle_min = ARGV[3], tonumber(ARGV[4])
local at, to, count = ARGV[5], ARGV[6], tonumber(ARGV[7])
call('XPENDING', S, G)
promote()
local out = {}

local function page_of_some(n)
  if not idle_min and consumer == '' then return page_of(at, to, n) end
  local args = { 'XPENDING', S, G }
  if idle_min then
    args[#args + 1] = 'IDLE'
    args[#args + 1] = idle_min
  end
  args[#args + 1] = at
  args[#args + 1] = to
  args[#args + 1] = n
  if consumer ~= '' then args[#args + 1] = consumer end
  return call(unpack(args))
end

while #out < count and at ~= NONE_ABOVE do
  local page = page_of_some(math.min(count - #out + 16, 500))
  for _, p in ipairs(page) do
    at = '(' .. p[1]
    local r = row(p[1])
    local state = state_of(p, r)
    if #out < count and not (idle_min and state) then
      local owner = not state and p[2] or ''
      out[#out + 1] = { p[1], owner, state or 'f', r and r.u or '0', state and 0 or p[3], p[4], failure_of(r or {}) }
    end
  end
  if #page == 0 or at == '(' .. to then break end
end
return out

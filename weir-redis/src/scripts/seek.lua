-- Moves a group. ARGV: prefix, group, kind (id, end, time, skip), ID or number, 1 for a dry run.
-- Answers {last-delivered ID before, afterwards, rows dropped}.
local function decrement(digits)
  local nines = 0
  for i = #digits, 1, -1 do
    local digit = string.byte(digits, i) - 48
    if digit > 0 then
      local less = string.sub(digits, 1, i - 1) .. (digit - 1) .. string.rep('9', nines)
      return string.match(less, '^0*(%d+)$')
    end
    nines = nines + 1
  end
  return '0'
end

local function before(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if seq ~= '0' then return ms .. '-' .. decrement(seq) end
  return decrement(ms) .. '-18446744073709551615'
end

local kind, value, is_dry = ARGV[3], ARGV[4], ARGV[5] == '1'
local group = groups_of_stream()[G]
if not group then return no_group() end
local from = group['last-delivered-id']
local last = named(call('XINFO', 'STREAM', S))['last-generated-id']
local to = value
if kind == 'end' then
  to = last
elseif kind == 'time' then
  local first = call('XRANGE', S, value, '+', 'COUNT', 1)[1]
  to = first and before(first[1]) or last
elseif kind == 'skip' then
  local left = tonumber(value)
  to = from
  walk('(' .. from, '+', function(entry)
    if left == 0 then return false end
    left, to = left - 1, entry[1]
  end)
  if left > 0 and is_less(from, last) then to = last end
elseif is_less(last, to) then
  to = last
end

local above, at = {}, '(' .. to
if to == ABOVE_ALL then at = nil end
while at do
  local page = page_of(at, '+', 1000)
  for _, p in ipairs(page) do
    above[#above + 1] = p[1]
  end
  at = #page == 1000 and '(' .. page[#page][1] or nil
end
if is_dry then return { from, to, #above } end

ack(above)
for _, id in ipairs(above) do
  forget(id, row(id))
end
call('XGROUP', 'SETID', S, G, to)

-- Entries above the new place have a new epoch; those at or below it keep theirs. What is below every pending row is
-- forgotten.
local first = page_of('-', '+', 1)[1]
local parts, padded = {}, pad(to)
for base_from, epoch in string.gmatch(call('HGET', kmeta, 'bases') or '0-0 0', '(%d+%-%d+) (%d+)') do
  if pad(base_from) < padded or base_from == '0-0' and to ~= '0-0' then
    if first and #parts > 0 and is_less(base_from, first[1]) then parts = {} end
    parts[#parts + 1] = base_from .. ' ' .. epoch
  end
end
if not first then parts = {} end
parts[#parts + 1] = to .. ' ' .. next_epoch()
call('HSET', kmeta, 'bases', table.concat(parts, ','))
return { from, to, #above }

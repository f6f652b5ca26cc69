-- Removes the oldest entries, but none that a required group has not acknowledged. ARGV: prefix, '', kind (length, min,
-- bytes), value. Answers {removed, held}.
if not has_stream() then return { 0, 0 } end
local total = call('XLEN', S)
local limits = { [ARGV[3]] = ARGV[3] == 'min' and ARGV[4] or tonumber(ARGV[4]) }
local guard
if P ~= '' then
  local _, lowest = required_groups()
  guard = lowest
end
if not guard and ARGV[3] ~= 'bytes' and (P == '' or call('HEXISTS', kstream, 'counted') == 0) then
  local removed
  if ARGV[3] == 'length' then
    removed = call('XTRIM', S, 'MAXLEN', '=', ARGV[4])
  else
    removed = call('XTRIM', S, 'MINID', '=', ARGV[4])
  end
  return { removed, 0 }
end
local n = beyond(total, limits)
local free = below_guard(n, guard)
cut(free, total)
return { free, n - free }

-- Gives a consumer named entries that are pending. ARGV: prefix, group, consumer, idle_min, IDs.
-- Answers {now, lease, mark, deliveries}.
local consumer, idle_min = ARGV[3], tonumber(ARGV[4])
local policy = policy_of()
touch(consumer)
promote()
local out, gone, seen = {}, {}, {}
if not pause_end(policy) then
  local ids = {}
  for i = 5, #ARGV do
    if not seen[ARGV[i]] then
      seen[ARGV[i]] = true
      ids[#ids + 1] = pad(ARGV[i])
    end
  end
  table.sort(ids)
  local rows = {}
  for _, padded in ipairs(ids) do
    local id = unpad(padded)
    local p = held(id)
    local state = p and state_of(p, row(id))
    if p and (state == 'r' or not state and p[3] >= idle_min) then rows[#rows + 1] = p end
  end
  give(consumer, rows, policy, out, gone)
end
return { int(now), policy.lease and int(policy.lease) or '', mark_of(consumer), out }

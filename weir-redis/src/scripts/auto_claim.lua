-- Gives a consumer pending entries that are old enough. ARGV: prefix, group, consumer, idle_min, start, count.
-- Answers {now, lease, mark, deliveries, cursor, dropped IDs}.
local consumer, idle_min, count = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[6])
local policy = policy_of()
touch(consumer)
promote()
local out, gone, looked = {}, {}, 0
local at, cursor = ARGV[5], '0-0'
local is_paused = pause_end(policy)
while not is_paused do
  if #out >= count or looked >= LOOKS_MAX then
    local next_row = page_of(at, '+', 1)[1]
    cursor = next_row and next_row[1] or '0-0'
    break
  end
  local page = page_of(at, '+', 100)
  if #page == 0 then break end
  for _, p in ipairs(page) do
    if #out >= count then break end
    at, looked = '(' .. p[1], looked + 1
    local state = state_of(p, row(p[1]))
    if (state == 'r' and not let_go[p[1]]) or (not state and p[3] >= idle_min) then
      give(consumer, { p }, policy, out, gone)
    end
  end
end
return { int(now), policy.lease and int(policy.lease) or '', mark_of(consumer), out, cursor, gone }

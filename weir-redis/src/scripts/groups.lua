-- The groups of a stream, or one of them. ARGV: prefix, group ('' = all).
-- Answers per group {name, last-delivered ID, pending, consumers, now, names and values of what is stored}.
local found = {}
local only = ARGV[2]
for name, group in pairs(groups_of_stream()) do
  if only == '' or name == only then
    use(name)
    local consumers = group.consumers
    for _, flat in ipairs(call('XINFO', 'CONSUMERS', S, name)) do
      if named(flat).name == PARKED then consumers = consumers - 1 end
    end
    local pending, stored = group.pending, {}
    -- Without a prefix nothing is kept beside the stream, and these names are somebody else's.
    if P ~= '' then
      pending, stored = pending + call('ZCARD', kgone), call('HGETALL', kmeta)
    end
    found[#found + 1] = { name, group['last-delivered-id'], pending, consumers, int(now), stored }
  end
end
return found

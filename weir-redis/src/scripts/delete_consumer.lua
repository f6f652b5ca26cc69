-- Removes a consumer. ARGV: prefix, group, consumer, 1 to hand its entries back. Answers how many it held.
local consumer, is_handed_back = ARGV[3], ARGV[4] == '1'
local n = 0
repeat
  local page = call('XPENDING', S, G, '-', '+', 500, consumer)
  for _, p in ipairs(page) do
    local r = row(p[1]) or {}
    state_of(p, r)
    if is_handed_back then
      park(p[1], r, p[4], nil)
    else
      call('XACK', S, G, p[1])
      forget(p[1], r)
    end
  end
  n = n + #page
until #page == 0
call('XGROUP', 'DELCONSUMER', S, G, consumer)
return n

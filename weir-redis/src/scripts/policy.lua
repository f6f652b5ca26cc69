-- Storing a policy. `at` is where its names and values begin.

local function values_from(args, at)
  local values = {}
  for i = at, #args, 2 do
    values[args[i]] = args[i + 1]
  end
  return values
end

-- The dead-letter stream belongs to one group. What says to which stands beside it: `dead` is its name, `dead_side` the
-- hash beside it.
local function take_dead_letters(args, at)
  local values = values_from(args, at)
  local taken = redis.error_reply('WEIRTAKEN ' .. values.dead)
  if values.dead == S or args[at - 1] == '1' then return taken end
  local kind = call('TYPE', values.dead).ok
  if kind ~= 'stream' and kind ~= 'none' then return taken end
  local mine = #S .. ':' .. S .. #G .. ':' .. G
  local owner = call('HGET', values.dead_side, 'dead_of')
  if owner and owner ~= mine then return taken end
  -- Letters of this group from before are its own; anything else makes it a stream with another purpose.
  local first = kind == 'stream' and call('XRANGE', values.dead, '-', '+', 'COUNT', 1)[1]
  if first and (first_value(first[2], 'weir-stream') ~= S or first_value(first[2], 'weir-group') ~= G) then
    return taken
  end
  return nil
end

local optional = { 'key', 'filter', 'required', 'retry_for', 'reset', 'dead_custom' }
local function store_policy(args, at)
  local values = values_from(args, at)
  local before = call('HMGET', kmeta, 'key', 'dead', 'dead_side')
  local mine = #S .. ':' .. S .. #G .. ':' .. G
  if before[2] and before[2] ~= values.dead and before[3] then
    call('HDEL', before[3], 'dead_of')
  end
  call('HSET', values.dead_side, 'dead_of', mine)
  call('HDEL', kmeta, unpack(optional))
  call('HSET', kmeta, unpack(args, at, #args))
  if values.required then
    call('SADD', P .. 'required', G)
  else
    call('SREM', P .. 'required', G)
  end
  if (before[1] or nil) ~= values.key then
    -- Nothing that was given out under the old key orders anything any more.
    call('DEL', kbusy)
    repeat
      local waiting = call('ZRANGE', kwait, 0, 499)
      for _, member in ipairs(waiting) do
        local padded = string.sub(member, -41)
        local id = unpad(padded)
        local r = row(id) or {}
        call('ZREM', kwait, member)
        r.s = 'r'
        put(id, r)
        call('ZADD', kready, 0, padded)
      end
    until #waiting == 0
    local cursor = '0'
    repeat
      local page = call('HSCAN', krow, cursor, 'COUNT', 500)
      cursor = page[1]
      for i = 1, #page[2], 2 do
        local r = cmsgpack.unpack(page[2][i + 1])
        if r.k then
          r.k = nil
          put(page[2][i], r)
        end
      end
    until cursor == '0'
  end
end

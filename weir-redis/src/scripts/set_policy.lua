-- Gives a group another policy. ARGV: prefix, group, side name, 1 when the dead-letter stream is
-- known to be taken, names and values of the policy.
if not groups_of_stream()[G] then return no_group() end
local refusal = take_dead_letters(ARGV, 5)
if refusal then return refusal end
call('HSET', kstream, 'side', ARGV[3])
call('SADD', P .. 'groups', G)
store_policy(ARGV, 5)
return 0

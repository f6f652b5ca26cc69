-- Gives a group another policy. ARGV: prefix, group, side name, names and values of the policy.
if not groups_of_stream()[G] then return no_group() end
local refusal = take_dead_letters(ARGV, 4)
if refusal then return refusal end
call('HSET', kstream, 'side', ARGV[3])
call('SADD', P .. 'groups', G)
store_policy(ARGV, 4)
return 0

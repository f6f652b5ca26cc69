-- What a group has pending, in short. ARGV: prefix, group. Answers {rows, lowest ID, highest ID, {consumer, rows}...}.
local summary = call('XPENDING', S, G)
local gone = call('ZRANGE', kgone, 0, -1)
if #gone > 0 then
  local lowest, highest = unpad(gone[1]), unpad(gone[#gone])
  if summary[1] == 0 or is_less(lowest, summary[2]) then summary[2] = lowest end
  if summary[1] == 0 or is_less(summary[3], highest) then summary[3] = highest end
  summary[1] = summary[1] + #gone
end
return summary

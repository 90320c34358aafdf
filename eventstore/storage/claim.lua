-- Makes the caller the only writer of one trader's log.
--
-- KEYS[1]  the fence, a hash: epoch, position, chain, id, owner, claimed_ms
-- KEYS[2]  the log, a stream
-- ARGV[1]  owner: who claims it, as JSON text
-- ARGV[2]  the time of the claim, UNIX milliseconds
-- ARGV[3]  the chain head of an empty log
-- ARGV[4]  an epoch that was given before, by a server that may have been set back since; 0 if none is known
-- ARGV[5]  the epoch that the fence was seen to have, 0 if there was none; '' to claim the log whatever it is
--
-- To claim the log again after the server lost the claim, also
-- ARGV[6]  the epoch that was claimed
-- ARGV[7]  its owner when the fence was seen
-- ARGV[8]  its position then
--
-- Counts the epoch up, so every batch of an older writer is refused from now on, and answers
--   {'claimed', epoch, position, chain, id of the last entry, epoch before, owner before or '', claim time of the owner
--    before or ''}
--   {'moved', epoch}: the fence is another one than was seen, and nothing was written
-- To claim it again puts the claimed epoch back, if the fence still is as it was seen; writes nothing if the claim
-- stands. Otherwise it answers {'fenced', epoch, owner}.
-- It writes nothing, and answers {'diverged', what is wrong}, when log and fence do not belong together: a log without a
-- fence, a fence without its log, another last entry than the fence says, or a foreign type at one of the keys.

local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'hash' then
  return {'diverged', KEYS[1] .. ' is a ' .. kind .. ', not the fence of a log'}
end
local log_kind = redis.call('TYPE', KEYS[2]).ok
if log_kind ~= 'none' and log_kind ~= 'stream' then
  return {'diverged', KEYS[2] .. ' is a ' .. log_kind .. ', not a log'}
end

local again = ARGV[6]
if kind == 'none' then
  if again then
    return {'diverged', 'the fence ' .. KEYS[1] .. ' is gone: keys were deleted, evicted or expired behind the writer\'s back'}
  end
  if log_kind ~= 'none' then
    return {'diverged', 'there is a log at ' .. KEYS[2] .. ' but its fence ' .. KEYS[1] .. ' is gone'}
  end
  if ARGV[5] ~= '' and ARGV[5] ~= '0' then
    return {'moved', '0'}
  end
  redis.call('HSET', KEYS[1], 'epoch', '0', 'position', '0', 'chain', ARGV[3], 'id', '0-0', 'owner', '', 'claimed_ms', '')
end

local fence = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'chain', 'id', 'owner', 'claimed_ms')
for i = 1, 6 do
  if not fence[i] or (i <= 2 and not string.match(fence[i], '^%d+$')) then
    return {'diverged', KEYS[1] .. ' is not the fence of a log: a field is missing or no number'}
  end
end
local last_id = '0-0'
if log_kind == 'stream' then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last_id = info[i + 1] end
  end
end
if last_id ~= fence[4] then
  return {'diverged', 'the last entry of ' .. KEYS[2] .. ' is ' .. last_id .. ' but the fence says ' .. fence[4]
    .. ' (position ' .. fence[2] .. '): the log was lost, cut or written by somebody else'}
end

if not again and ARGV[5] ~= '' and ARGV[5] ~= fence[1] then
  return {'moved', fence[1]}
end

local epoch = string.format('%.0f', math.max(tonumber(fence[1]), tonumber(ARGV[4])) + 1)
if again then
  local stands = fence[1] == again and fence[5] == ARGV[1]
  local lost = fence[1] == ARGV[5] and fence[5] == ARGV[7] and fence[2] == ARGV[8]
  if not stands and not lost then
    return {'fenced', fence[1], fence[5]}
  end
  epoch = again
end
if epoch ~= fence[1] then
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', ARGV[1], 'claimed_ms', ARGV[2])
end
return {'claimed', epoch, fence[2], fence[3], fence[4], fence[1], fence[5], fence[6]}

-- Appends one batch to a trader's log, applies its view operations and moves the fence; or does nothing at all.
--
-- KEYS[1]  the log, a stream
-- KEYS[2]  the fence, a hash: epoch, position, chain, id, owner, claimed_ms
-- ARGV[1]  epoch of the writer
-- ARGV[2]  position of the batch's first entry
-- ARGV[3]  position of its last entry
-- ARGV[4]  chain head before the batch
-- ARGV[5]  chain head behind it
-- ARGV[6]  entries: MessagePack array of id, payload, id, payload, ...
-- ARGV[7]  operations: MessagePack array of arrays {name, key, argument, ...}. HSET, HDEL, SADD, SREM are Redis's own;
--            {'RETIRE', key, lives}  keep the hash as key{n}, n counted up in the hash `lives`
--            {'DROP', key, lives, purged}  delete the hash and every key{n}, and its fields in `lives` and in `purged`,
--                                    which says how many of the first key{n} are gone
--            {'PURGE', key, lives, purged, n, version before, version, member, number of sets, set, ..., hash, ...}
--                                    if `member` is in the first set, and the hash has n earlier lives, the event
--                                    `version before` and none `version`: DROP it, SREM `member` and HDEL its fields
--            {'FORGET', key, lives, purged, n, upto}  if the hash has n earlier lives: delete them up to key{upto}
--            {'TRIM', key, lives, n, below}  if the hash has n earlier lives and an event from the version `below` on:
--                                    delete the events before
--            {'WIPE', order set, position set, account set, lives, purged, prefix, fixed view, ...}  delete views and log
-- ARGV[8]  owner that claimed the epoch: on a server that was set back, an epoch can be claimed twice
-- The views have the fence's hash tag, so they are in its slot; their names come from the ids in the commands.
--
-- Everything is checked before the first write. Redis undoes nothing: a write that failed behind another one would
-- leave half a batch. Answers
--   {'applied'}      {'duplicate'}: it was applied before
--   {'fenced', epoch, owner}: another writer took over; or, with a lower epoch, the server was set back
--   {'gap', position}: the log ends at another position than the one before this batch
--   {'diverged', what is wrong}
-- or the error NOPERM.

local log, writer = KEYS[1], KEYS[2]
local fence = redis.call('HMGET', writer, 'epoch', 'position', 'chain', 'id', 'owner')
if not fence[1] then
  return {'diverged', 'the fence ' .. writer .. ' is gone: keys were deleted, evicted or expired behind the writer\'s back'}
end
if fence[1] ~= ARGV[1] or fence[5] ~= ARGV[8] then
  return {'fenced', fence[1], fence[5]}
end
local position, first, last = tonumber(fence[2]), tonumber(ARGV[2]), tonumber(ARGV[3])
if position >= last then
  if position == last and fence[3] ~= ARGV[5] then
    return {'diverged', 'another batch stands at position ' .. fence[2]}
  end
  return {'duplicate'}
end
if position ~= first - 1 then
  return {'gap', fence[2]}
end
if fence[3] ~= ARGV[4] then
  return {'diverged', 'the chain head at position ' .. fence[2] .. ' is not the one that this writer left'}
end

local last_id = '0-0'
local log_kind = redis.call('TYPE', log).ok
if log_kind == 'stream' then
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last_id = info[i + 1] end
  end
elseif log_kind ~= 'none' then
  return {'diverged', log .. ' is a ' .. log_kind .. ', not a log'}
end
if last_id ~= fence[4] then
  return {'diverged', 'the last entry of ' .. log .. ' is ' .. last_id .. ' but the fence says ' .. fence[4]}
end

-- In a cluster whose slot of this trader is being moved, a key that is not here may be at the other node already, and a
-- write of it would fail in the middle. Asking for one that never is there fails now.
redis.call('TYPE', log .. ':absent')

local entries = cmsgpack.unpack(ARGV[6])
local operations = cmsgpack.unpack(ARGV[7])
local hash, set = {'hash'}, {'set'}
-- What the arguments of an operation have to be, the first ones.
local kinds = {
  HSET = hash, HDEL = hash, SADD = set, SREM = set, RETIRE = {'hash', 'hash'}, DROP = {'hash', 'hash', 'hash'},
  PURGE = {'hash', 'hash', 'hash'}, FORGET = {'hash', 'hash', 'hash'}, TRIM = {'hash', 'hash'},
  WIPE = {'set', 'set', 'set', 'hash', 'hash'}
}

local function check(key, expected)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= expected then
    return {'diverged', key .. ' is a ' .. kind .. ' where a ' .. expected .. ' belongs: somebody else wrote it'}
  end
end

for _, operation in ipairs(operations) do
  for i, expected in ipairs(kinds[operation[1]]) do
    local wrong = check(operation[i + 1], expected)
    if wrong then return wrong end
  end
  if operation[1] == 'PURGE' then
    for i = 10, #operation do
      local wrong = check(operation[i], i <= 9 + operation[9] and 'set' or 'hash')
      if wrong then return wrong end
    end
  end
end

-- A permission that is missing for one of the commands shows before the first of them, from Redis 7.0 on.
local commands = {
  RETIRE = {'EXISTS', 'HINCRBY', 'RENAME'}, DROP = {'HGET', 'UNLINK', 'HDEL'}, WIPE = {'HGETALL', 'SMEMBERS', 'UNLINK'},
  PURGE = {'HGET', 'HEXISTS', 'SISMEMBER', 'UNLINK', 'HDEL', 'SREM'}, FORGET = {'HGET', 'UNLINK', 'HSET'},
  TRIM = {'HGET', 'HKEYS', 'HDEL'}
}
local asked = {}

local function forbidden(name, key)
  if asked[name] then return end
  asked[name] = true
  for _, command in ipairs(commands[name] or {name}) do
    if not redis.acl_check_cmd(command, key, key, key) then
      return redis.error_reply('NOPERM this user has no permissions to run the ' .. command .. ' command on ' .. key)
    end
  end
end

if redis.acl_check_cmd then
  local wrong = forbidden('XADD', log)
  for _, operation in ipairs(operations) do
    wrong = wrong or forbidden(operation[1], operation[2])
  end
  asked.HSET = nil  -- the fence's
  wrong = wrong or forbidden('HSET', writer)
  if wrong then return wrong end
end

local function retire(key, lives)
  if redis.call('EXISTS', key) == 1 then
    local n = redis.call('HINCRBY', lives, key, 1)
    redis.call('RENAME', key, key .. '{' .. n .. '}')
  end
end

local function number(key, field)
  return redis.call('HGET', key, field) or '0'
end

local function unlink_lives(key, from, upto)
  for i = from, upto do
    redis.call('UNLINK', key .. '{' .. string.format('%d', i) .. '}')
  end
end

local function drop(key, lives, purged)
  unlink_lives(key, tonumber(number(purged, key)) + 1, tonumber(number(lives, key)))
  redis.call('UNLINK', key)
  redis.call('HDEL', lives, key)
  redis.call('HDEL', purged, key)
end

local function purge(key, lives, purged, n, before, version, member, sets, ...)
  local names = {...}
  if number(lives, key) ~= n or redis.call('SISMEMBER', names[1], member) == 0
    or redis.call('HEXISTS', key, before) == 0 or redis.call('HEXISTS', key, version) == 1 then
    return
  end
  drop(key, lives, purged)
  for i, name in ipairs(names) do
    redis.call(i <= sets and 'SREM' or 'HDEL', name, member)
  end
end

-- Decimal numbers as text: Lua's own are exact up to 2^53 only.
local function under(a, b)
  return #a < #b or (#a == #b and a < b)
end

local function forget(key, lives, purged, n, upto)
  local gone = number(purged, key)
  if number(lives, key) == n and under(gone, upto) and not under(n, upto) then
    unlink_lives(key, tonumber(gone) + 1, tonumber(upto))
    redis.call('HSET', purged, key, upto)
  end
end

local function trim(key, lives, n, below)
  if number(lives, key) ~= n then return end
  local versions, old = redis.call('HKEYS', key), {}
  for _, version in ipairs(versions) do
    if under(version, below) then old[#old + 1] = version end
  end
  if #old == #versions then return end  -- the last one stays
  for _, version in ipairs(old) do
    redis.call('HDEL', key, version)
  end
end

local function wipe(orders, positions, accounts, lives, purged, prefix, ...)
  local past = redis.call('HGETALL', lives)
  for i = 1, #past, 2 do
    unlink_lives(past[i], tonumber(number(purged, past[i])) + 1, tonumber(past[i + 1]))
  end
  for family, members in pairs({order = orders, position = positions, account = accounts}) do
    for _, id in ipairs(redis.call('SMEMBERS', members)) do
      redis.call('UNLINK', prefix .. family .. ':' .. id)
    end
  end
  redis.call('UNLINK', log, ...)
end

local operate = {RETIRE = retire, DROP = drop, PURGE = purge, FORGET = forget, TRIM = trim, WIPE = wipe}

for _, operation in ipairs(operations) do
  local by = operate[operation[1]]
  if by then
    by(unpack(operation, 2))
  else
    redis.call(unpack(operation))
  end
end

local n = #entries
for i = 1, n - 2, 2 do
  redis.call('XADD', log, entries[i], 'e', entries[i + 1])
end
redis.call('XADD', log, entries[n - 1], 'e', entries[n], 'h', ARGV[5])
redis.call('HSET', writer, 'position', ARGV[3], 'chain', ARGV[5], 'id', entries[n - 1])
return {'applied'}

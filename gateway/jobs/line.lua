-- One route's line in Redis. KEYS[1] is the prefix with its hash tag; ARGV[1] the operation. Times
-- are the server's own seconds. A member is "<number> <application>".
local P, op = KEYS[1], ARGV[1]
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local wait, seen, run, took = P .. 'wait', P .. 'seen', P .. 'run', P .. 'took'
local KEEP_S = 86400

local function num(x) return string.format('%.17g', x) end
local function turns(member) return P .. 'turns:' .. string.match(member, ' (.*)$') end
local function out(member)
  redis.call('ZREM', wait, member)
  redis.call('ZREM', seen, member)
  redis.call('ZREM', turns(member), member)
end
local function into(member, rank, tag, seen_s)
  redis.call('ZADD', wait, rank, member)
  redis.call('ZADD', seen, num(now + seen_s), member)
  redis.call('ZADD', turns(member), tag, member)
  redis.call('EXPIRE', turns(member), KEEP_S)
end
local function keep()
  for _, name in ipairs({wait, seen, run, took}) do redis.call('EXPIRE', name, KEEP_S) end
end
-- Whoever was not looked for, or not renewed, has died.
local function clean()
  redis.call('ZREMRANGEBYSCORE', run, '-inf', num(now))
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', num(now), 'LIMIT', 0, 100)) do
    out(member)
  end
end

if op == 'enter' then
  local member, limit, capacity = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
  local spread, ahead = tonumber(ARGV[5]), tonumber(ARGV[6])
  clean()
  local waiting = redis.call('ZCARD', wait)
  if waiting == 0 and redis.call('ZCARD', run) < limit then
    redis.call('ZADD', run, num(now + tonumber(ARGV[8])), member)
    keep()
    return {0, '0', '0'}
  end
  if capacity == 0 then return {-1, '0', '0'} end
  if waiting >= capacity then return {-2, '0', '0'} end
  local last = redis.call('ZREVRANGE', turns(member), 0, 0, 'WITHSCORES')
  local tag = now
  if last[2] and tonumber(last[2]) + spread > now then tag = tonumber(last[2]) + spread end
  into(member, num(tag - ahead), num(tag), tonumber(ARGV[7]))
  keep()
  return {redis.call('ZRANK', wait, member) + 1, num(tag - ahead), num(tag)}
elseif op == 'look' then
  -- limit, seen, lease; then of each: member, rank, tag. A Redis that forgot them learns them anew.
  local limit, mine, found = tonumber(ARGV[2]), {}, {}
  for n = 5, #ARGV, 3 do
    mine[ARGV[n]] = true
    if not redis.call('ZSCORE', run, ARGV[n]) then
      into(ARGV[n], ARGV[n + 1], ARGV[n + 2], tonumber(ARGV[3]))
    end
  end
  clean()
  local running = redis.call('ZCARD', run)
  local head = redis.call('ZRANGE', wait, 0, 0)[1]
  while head and mine[head] and running < limit do
    out(head)
    redis.call('ZADD', run, num(now + tonumber(ARGV[4])), head)
    running = running + 1
    head = redis.call('ZRANGE', wait, 0, 0)[1]
  end
  keep()
  for n = 5, #ARGV, 3 do
    local rank = redis.call('ZRANK', wait, ARGV[n])
    found[#found + 1] = rank and rank + 1 or 0
  end
  return found
elseif op == 'renew' then
  for n = 3, #ARGV do redis.call('ZADD', run, num(now + tonumber(ARGV[2])), ARGV[n]) end
  keep()
  return 0
elseif op == 'leave' then
  -- member, seconds of its answer or '', how many are kept
  out(ARGV[2])
  redis.call('ZREM', run, ARGV[2])
  if ARGV[3] ~= '' then
    redis.call('LPUSH', took, ARGV[3])
    redis.call('LTRIM', took, 0, tonumber(ARGV[4]) - 1)
  end
  return 0
end

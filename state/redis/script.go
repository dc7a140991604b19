package astraredis

import "github.com/redis/go-redis/v9"

// The scripts take the time from Redis, so that instances need not agree on it.

// reportScript adds a report and publishes it. KEYS: the set. ARGV: member,
// milliseconds left, channel, most members.
var reportScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[4])
redis.call('PEXPIRE', KEYS[1], math.max(ARGV[2], redis.call('PTTL', KEYS[1])))
redis.call('PUBLISH', ARGV[3], ARGV[2] .. ' ' .. ARGV[1])
return 0
`)

// listScript returns the reports that hold, each after its milliseconds left,
// as they are published. KEYS: the set. ARGV: most members.
var listScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
local news = {}
for i = 1, #found, 2 do
	news[#news + 1] = string.format('%d %s', found[i + 1] - now, found[i])
end
return news
`)

-- The breakers of one account and of the installation, decided at one moment by Redis' own clock (deviantart/breaker.py).
-- Times are microseconds. KEYS: the account's state, the installation's, the hosts and the accounts that met a block page.
-- ARGV: the operation, JSON of what it needs.

local account_key, installation_key, hosts_key, accounts_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local operation, given = ARGV[1], cjson.decode(ARGV[2])
local config = given.config

local function server_now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local now = given.now or server_now()

local NUMBERS = {
  'open_until', -- 0: closed; once it has passed: half-open
  'opened_at',
  'opens', -- times it has opened without closing in between
  'failures', -- in a row
  'failed_at',
  'probe_until', -- how long whoever probes has got
  'maintenance', -- answers 503 in a row
  'window_at', -- since when it counts calls, how many there were and how many of them failed
  'window_calls',
  'window_failures',
}

local function load(key, known)
  local values = redis.call('HGETALL', key)
  local found = {}
  for place = 1, #values, 2 do
    found[values[place]] = values[place + 1]
  end
  local state = { key = key, reason = found.reason or '', probe = found.probe or '' }
  for _, name in ipairs(NUMBERS) do
    state[name] = tonumber(found[name] or 0)
  end
  if #values == 0 and known and known['until'] > now then
    -- It was lost, and the one who asks remembers that it is open.
    state.open_until, state.opened_at, state.opens, state.reason = known['until'], now, 1, known.reason
  end
  return state
end

local function save(state)
  local values = { 'reason', state.reason, 'probe', state.probe }
  for _, name in ipairs(NUMBERS) do
    table.insert(values, name)
    table.insert(values, string.format('%.0f', state[name]))
  end
  redis.call('HSET', state.key, unpack(values))
  redis.call('PEXPIRE', state.key, config.keep_ms)
end

local account = load(account_key, given.known)
local installation = load(installation_key, given.known_installation)

local function answer(what, scope, at, reason)
  save(account)
  save(installation)
  local function known(state)
    return state.open_until > now and state.open_until or 0
  end
  return { what, scope, at or now, now, reason or '', known(account), account.reason, known(installation), installation.reason }
end

local function open(state, reason, seconds)
  if state.open_until == 0 then
    state.opened_at = now
  end
  state.opens = state.opens + 1
  state.open_until, state.reason, state.probe, state.probe_until = now + seconds, reason, '', 0
end

local function close(state)
  for _, name in ipairs(NUMBERS) do
    state[name] = 0
  end
  state.reason, state.probe = '', ''
  if state == installation then
    redis.call('DEL', hosts_key, accounts_key)
  end
end

local function ask()
  for _, each in ipairs({ { 'installation', installation }, { 'account', account } }) do
    local scope, state = each[1], each[2]
    if state.open_until > now then
      return answer('held', scope, state.open_until, state.reason)
    elseif state.open_until > 0 then
      if state.probe_until > now or not given.probe then
        return answer('held', scope, now + config.look_again, state.reason)
      end
      state.probe, state.probe_until = given.probe, now + config.lease
      return answer('probe', scope, state.probe_until, state.reason)
    end
  end
  return answer('closed', '')
end

local function installation_opens_for(reason)
  if reason == 'blocked' then
    return config.open
  end
  return math.min(config.first_open * 2 ^ installation.opens, config.open)
end

-- What a probe found closes or opens, whatever it was; but only as long as it is the one that is waited for.
local function judge_probe()
  local state = given.scope == 'account' and account or installation
  if state.probe ~= given.probe then
    return
  end
  if given.outcome == 'gave_way' then
    state.probe, state.probe_until = '', 0
  elseif given.outcome == 'answered' or (given.outcome == 'limited' and state == installation) then
    close(state)
  elseif state == account then
    open(state, given.outcome == 'limited' and 'limited' or state.reason, config.open)
  elseif given.outcome == 'unknown' then
    open(state, state.reason, config.first_open)
  else
    open(state, state.reason, installation_opens_for(given.outcome))
  end
end

local function count_for_account()
  if account.open_until > 0 then
    return -- decided by the probe alone
  elseif given.started < account.failed_at then
    return -- it was under way with the one that was counted
  elseif given.outcome == 'answered' then
    account.failures = 0
  elseif given.outcome == 'limited' then
    account.failures, account.failed_at = account.failures + 1, now
    if account.failures >= config.threshold then
      open(account, 'limited', config.open)
    end
  end
end

-- Counts who has met a block page lately.
local function seen(key, who)
  redis.call('ZADD', key, string.format('%.0f', now), who)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - config.block_window))
  redis.call('PEXPIRE', key, config.keep_ms)
  return redis.call('ZCARD', key)
end

local function count_for_installation()
  if installation.open_until > 0 or given.outcome == 'unknown' then
    return
  end
  if given.outcome == 'blocked' then
    local hosts, accounts = seen(hosts_key, given.host), seen(accounts_key, given.account)
    if hosts >= config.block_hosts or accounts >= config.block_accounts then
      open(installation, 'blocked', config.open)
    end
    return
  end
  if now - installation.window_at > config.window then
    installation.window_at, installation.window_calls, installation.window_failures = now, 0, 0
  end
  installation.window_calls = installation.window_calls + 1
  if given.outcome ~= 'failed' and given.outcome ~= 'maintenance' then
    installation.maintenance = 0
    return
  end
  installation.window_failures = installation.window_failures + 1
  installation.maintenance = given.outcome == 'maintenance' and installation.maintenance + 1 or 0
  if installation.maintenance >= config.threshold then
    open(installation, 'maintenance', installation_opens_for('maintenance'))
  elseif
    installation.window_failures >= config.window_failures
    and installation.window_failures >= config.window_share * installation.window_calls
  then
    open(installation, 'failing', installation_opens_for('failing'))
  end
end

local function tell()
  local account_was, installation_was = account.open_until, installation.open_until
  if given.probe then
    judge_probe()
  else
    count_for_account()
    count_for_installation()
  end
  if installation.open_until > math.max(now, installation_was) then
    return answer('opened', 'installation', installation.open_until, installation.reason)
  elseif account.open_until > math.max(now, account_was) then
    return answer('opened', 'account', account.open_until, account.reason)
  end
  return answer('closed', '')
end

local function reset()
  local state = given.scope == 'account' and account or installation
  close(state)
  save(state) -- so that it is known to be closed, and not taken for lost
end

if operation == 'ask' then
  return ask()
elseif operation == 'tell' then
  return tell()
end
return reset()

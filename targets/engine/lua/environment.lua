-- The environment of scripts. Takes library, which calls a function of `lua_libraries`, and begin,
-- finish and outside of bounds.lua; returns compile, run, rawget and null.

local library, begin, finish, outside = ...
local getinfo, setfenv, loadstring = debug.getinfo, setfenv, loadstring
local type, error, pcall, pairs, tostring = type, error, pcall, pairs, tostring
local getmetatable, setmetatable, rawget = getmetatable, setmetatable, rawget
local xpcall, sub, format, select = xpcall, string.sub, string.format, select
local unpack, tonumber, math, table = unpack, tonumber, math, table
local harmless = {'assert', 'error', 'ipairs', 'next', 'pairs', 'rawequal', 'rawget', 'rawset',
  'select', 'setmetatable', 'tonumber', 'type', 'unpack', '_VERSION'}
local G = _G
G.string.dump = nil

local find = string.find
local null = newproxy()
local libraries = {cjson = {'encode', 'decode'}, struct = {'pack', 'unpack', 'size'},
  cmsgpack = {'pack', 'unpack'}, bit = {'tobit', 'tohex', 'bnot', 'band', 'bor', 'bxor', 'lshift',
  'rshift', 'arshift', 'rol', 'ror', 'bswap'}}
local function checked(done, first, ...)
  if not done then error(first, 3) end
  return first, ...
end
local function copy(from)
  local to = {}
  for name, f in pairs(from) do to[name] = f end
  return to
end

local function environment(raw, random)
  local env = {}
  for i = 1, #harmless do env[harmless[i]] = G[harmless[i]] end
  env.string, env.table, env.math = copy(G.string), copy(G.table), copy(G.math)
  env.math.randomseed = function() end
  env.math.random = function(...)
    local count, low, high = select('#', ...), ...
    if count == 0 then return random() end
    if count > 2 then error('wrong number of arguments', 2) end
    for place = 1, count do
      local bound = tonumber((select(place, ...)))
      if not bound or bound ~= bound or bound < -2^53 or bound > 2^53 then
        error("bad argument #" .. place .. " to 'random' (number expected)", 2)
      end
    end
    if count == 1 then low, high = 1, low end
    low, high = math.floor(tonumber(low)), math.floor(tonumber(high))
    if low > high then
      error("bad argument #" .. count .. " to 'random' (interval is empty)", 2)
    end
    return low + math.floor(random() * (high - low + 1))
  end
  env.getmetatable = function(value)
    if type(value) == 'table' then return getmetatable(value) end
    return nil
  end
  env.tostring = function(value)
    local kind = type(value)
    if kind == 'function' or kind == 'userdata' or kind == 'thread' or
       (kind == 'table' and not (getmetatable(value) or {}).__tostring) then return kind end
    return tostring(value)
  end
  env.pcall = function(f, ...)
    local results = {pcall(f, ...)}
    local why = results[2]
    if not results[1] and type(why) == 'table' and rawget(why, 'err') then results[2] = why.err end
    return unpack(results, 1, table.maxn(results))
  end
  for name, functions in pairs(libraries) do
    env[name] = {}
    for i = 1, #functions do
      local f = functions[i]
      env[name][f] = function(...) return checked(outside(library, name, f, ...)) end
    end
  end
  env.cjson.null = null
  local function call(...)
    local words = {...}
    for i = 1, select('#', ...) do
      if type(words[i]) == 'number' then words[i] = format('%.17g', words[i]) end
      if type(words[i]) ~= 'string' then
        return {err = 'ERR Lua redis lib command arguments must be strings or integers'}
      end
    end
    return outside(raw, unpack(words, 1, select('#', ...)))
  end
  local function one_text(count, text)
    if count == 1 and type(text) == 'string' then return nil end
    return {err = 'ERR wrong number or type of arguments'}
  end
  env.redis = {
    error_reply = function(...)
      local text = ...
      local wrong = one_text(select('#', ...), text)
      if wrong then return wrong end
      if sub(text, 1, 1) == '-' then return {err = sub(text, 2)} end
      return {err = find(text, ' ', 1, true) and text or 'ERR ' .. text}
    end,
    status_reply = function(...)
      return one_text(select('#', ...), (...)) or {ok = (...)}
    end,
    sha1hex = function(...)
      if select('#', ...) ~= 1 then error('wrong number of arguments', 0) end
      return checked(outside(library, 'redis', 'sha1hex', ...))
    end,
    log = function() end,
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    replicate_commands = function() return true end,
    pcall = call,
    call = function(...)
      local reply = call(...)
      if type(reply) == 'table' and rawget(reply, 'err') then error(reply, 0) end
      return reply
    end,
  }
  return env
end

local function compile(text)
  if sub(text, 1, 1) == '\27' then
    return nil, "user_script:1: unexpected symbol near 'char(27)'"
  end
  return loadstring(text, '@user_script')
end

-- Convert a raised value to {err = message, at = 'user_script:line'}, as Redis reports it.
local function raised(why)
  local at, level = nil, 2
  repeat at, level = getinfo(level, 'Sl'), level + 1 until not at or at.source == '@user_script'
  at = at or {source = '@user_script', currentline = 1}  -- after a tail call the line is unknown
  if type(why) ~= 'table' then why = {err = 'ERR ' .. tostring(why)} end
  return {err = rawget(why, 'err'), at = sub(at.source, 2) .. ':' .. at.currentline}
end

local function run(f, keys, argv, raw, random)
  local env = environment(raw, random)
  env.KEYS, env.ARGV = keys, argv
  setmetatable(env, {
    __index = function(_, name)
      error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
    __newindex = function() error('Attempt to modify a readonly table', 2) end,
  })
  setfenv(f, env)
  begin()
  local done, reply = xpcall(f, raised)
  finish()
  return done, reply
end
return compile, run, rawget, null

-- The bounds of a script: in instructions, in work done by functions in C, in time, and in memory.
-- Takes the bounds, a function that returns the seconds that have been spent, and those that lift
-- and set the bound of memory; returns begin, finish, outside and spend.

local units_max, seconds_max, memory_max, spent_s, lift, set = ...
local sethook, getinfo, error, collectgarbage = debug.sethook, debug.getinfo, error, collectgarbage
local STEP = 100  -- instructions from one check to the next
local left, ends = 0, 0

-- From a bound on every instruction of a script fails, so that its pcall can't catch the error.
local function fail()
  sethook(fail, '', 1)
  local source = getinfo(2, 'S').source
  if source == '@user_script' or source == '=patterns' then
    error('script ran for too long', 0)
  end
end

local function check()
  left = left - STEP
  if left < 0 or spent_s() > ends then sethook(fail, '', 1) end
end

local function begin()
  left, ends = units_max, spent_s() + seconds_max
  collectgarbage('setpause', 120)  -- Lua 5.1 does not collect garbage when memory runs out
  set()
  sethook(check, '', STEP)
end

local function finish()
  sethook()
  lift()
end

local function inside(...)
  set()
  if spent_s() > ends then sethook(fail, '', 1) end
  return ...
end

-- Call a function of Python. The bound of memory is lifted meanwhile: the conversion of values must
-- not fail, as it is not protected.
local function outside(f, ...)
  lift()
  return inside(f(...))
end

-- Account for some work of a function in C that needs `bytes` of memory.
local function spend(units, bytes)
  left = left - units
  if left < 0 then sethook(fail, '', 1) end
  if bytes and bytes > 1048576 then
    if collectgarbage('count') * 1024 + bytes > memory_max / 2 then collectgarbage() end
    if collectgarbage('count') * 1024 + bytes > memory_max then error('not enough memory', 0) end
  end
end

return begin, finish, outside, spend

// Times Porcupine on histories of registers: one line of "call ret key f a b swapped" an operation;
// ret -1: of unknown outcome; f: 0 read a, 1 write a, 2 compare with a and set b; -1: nothing.
// Prints "RESULT SECONDS PEAK_KB". Built against a copy of Porcupine's source by peer.py.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

type asked struct{ key, f, a, b int }
type answer struct {
	known, swapped bool
	seen           int
}

var register = porcupine.Model{
	Partition: byKey,
	Init:      func() interface{} { return -1 },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		now, in, out := state.(int), input.(asked), output.(answer)
		switch in.f {
		case 0:
			return !out.known || out.seen == now, now
		case 1:
			return true, in.a
		}
		if now == in.a {
			return !out.known || out.swapped, in.b
		}
		return !out.known || !out.swapped, now
	},
	Equal: func(a, b interface{}) bool { return a.(int) == b.(int) },
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	keys := map[int][]porcupine.Operation{}
	for _, op := range history {
		k := op.Input.(asked).key
		keys[k] = append(keys[k], op)
	}
	names := make([]int, 0, len(keys))
	for k := range keys {
		names = append(names, k)
	}
	sort.Ints(names)
	parts := make([][]porcupine.Operation, 0, len(keys))
	for _, k := range names {
		parts = append(parts, keys[k])
	}
	return parts
}

func read(path string) []porcupine.Operation {
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	var history []porcupine.Operation
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var v [7]int64
		for i, word := range strings.Fields(lines.Text()) {
			if v[i], err = strconv.ParseInt(word, 10, 64); err != nil {
				panic(err)
			}
		}
		op := porcupine.Operation{
			ClientId: len(history),
			Call:     v[0],
			Return:   v[1],
			Input:    asked{int(v[2]), int(v[3]), int(v[4]), int(v[5])},
			Output:   answer{true, v[6] == 1, int(v[4])},
		}
		if v[1] < 0 {
			op.Return, op.Output = math.MaxInt64, answer{}
		}
		history = append(history, op)
	}
	return history
}

func peak() string {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "VmHWM:") {
			return strings.Fields(line)[1]
		}
	}
	return "0"
}

func main() {
	history := read(os.Args[1])
	limit, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	began := time.Now()
	result := porcupine.CheckOperationsTimeout(register, history, time.Duration(limit)*time.Second)
	fmt.Println(result, time.Since(began).Seconds(), peak())
}

package migrate

import "slices"

// pickGPUs returns want of the free GPUs, ascending. With near set it prefers
// a block aligned to its own size (0-3, 4-7: the halves that share a switch
// and a socket on the usual boards), then any contiguous run, then the lowest
// indices. Suspect ones come last in any case. free is ascending and holds at
// least want.
func pickGPUs(free []int, suspect map[int]bool, want int, near bool) []int {
	if want == 0 {
		return nil
	}
	var sound []int
	for _, g := range free {
		if !suspect[g] {
			sound = append(sound, g)
		}
	}
	if len(sound) < want {
		for _, g := range free {
			if suspect[g] && len(sound) < want {
				sound = append(sound, g)
			}
		}
		slices.Sort(sound)
		return sound
	}
	if near {
		if block := run(sound, want, true); block != nil {
			return block
		}
		if block := run(sound, want, false); block != nil {
			return block
		}
	}
	return sound[:want:want]
}

// run returns the first contiguous run of want GPUs, or nil.
func run(free []int, want int, aligned bool) []int {
	for i := 0; i+want <= len(free); i++ {
		if free[i+want-1]-free[i] == want-1 && (!aligned || free[i]%want == 0) {
			return slices.Clone(free[i : i+want])
		}
	}
	return nil
}

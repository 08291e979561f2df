// Package nvml calls NVIDIA's management library for gpu's child process: it
// adapts go-nvml to [gpu.Boards].
//
// It keeps no history and judges nothing, and it does not guard against calls
// that hang or crash: that is done by killing the process it runs in. It never
// calls past a failed initialisation, nor a function that the installed
// library lacks; either would end the process with status 127.
package nvml

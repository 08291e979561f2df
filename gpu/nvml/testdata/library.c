// A library that calls itself NVIDIA's, of two GPUs, for the tests: the calls
// of an old driver and no more. It prints where it should not, and does what
// files in the directory $FAKE_NVML say: "hang" lets a call about the second
// GPU never return, "absent" lets the initialisation fail.
#include <nvml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int has(const char *file)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", getenv("FAKE_NVML"), file);
	return access(path, F_OK) == 0;
}

// Handles are 1 and 2.
static long number(nvmlDevice_t d) { return (long)d.handle; }

static void chat(void)
{
	static const char text[] = "NVRM: something to say on standard output\n";
	if (write(STDOUT_FILENO, text, sizeof text - 1) < 0)
		abort();
}

nvmlReturn_t nvmlInit_v2(void)
{
	chat();
	return has("absent") ? NVML_ERROR_DRIVER_NOT_LOADED : NVML_SUCCESS;
}

nvmlReturn_t nvmlShutdown(void) { return NVML_SUCCESS; }

const char *nvmlErrorString(nvmlReturn_t r) { return "an error"; }

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
	snprintf(version, length, "450.80.02");
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *n)
{
	*n = 2;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *d)
{
	if (index > 1)
		return NVML_ERROR_INVALID_ARGUMENT;
	d->handle = (void *)(long)(index + 1);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *d)
{
	int index;
	if (sscanf(uuid, "GPU-%d", &index) != 1)
		return NVML_ERROR_NOT_FOUND;
	return nvmlDeviceGetHandleByIndex_v2(index, d);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *uuid, unsigned int length)
{
	snprintf(uuid, length, "GPU-%ld", number(d) - 1);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *name, unsigned int length)
{
	snprintf(name, length, "Tesla of the tests");
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *m)
{
	m->total = 16ull << 30;
	m->used = 2ull << 30;
	m->free = 14ull << 30;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *pci)
{
	memset(pci, 0, sizeof *pci);
	pci->bus = 0x3b + number(d);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t s, unsigned int *t)
{
	chat();
	while (number(d) == 2 && has("hang"))
		pause();
	*t = 50 + number(d);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned int *milliwatts)
{
	*milliwatts = 123456;
	return NVML_SUCCESS;
}

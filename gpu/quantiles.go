package gpu

// Quantiles of production GPU telemetry: DCGM samples of the Kalos cluster
// (A100 80 GB), Shanghai AI Laboratory.
//
// Source: AcmeTrace, https://github.com/InternLM/AcmeTrace (commit 6d6ac9c,
// data/utilization); Hu et al., "Characterization of Large Language Model
// Development in the Datacenter", NSDI 2024. Licensed CC-BY-4.0,
// https://creativecommons.org/licenses/by/4.0/. Changed: read off at the
// probabilities below, rounded, percent turned into ratios.

// quantile is one row of the table: the values below which a share p of the
// samples lie.
type quantile struct {
	p                 float64 // 0 to 1
	temperature       float64 // °C
	memoryTemperature float64 // °C
	power             float64 // W
	utilization       float64 // 0 to 1
	memory            float64 // used, share of the total
}

var quantiles = [...]quantile{
	{0, 15, 19, 55.7, 0, 0},
	{0.001, 20, 24, 57.7, 0, 0},
	{0.005, 22, 27, 59.5, 0, 0},
	{0.01, 22, 30, 60.2, 0, 0},
	{0.025, 24, 38, 61.1, 0, 0},
	{0.05, 25, 40, 61.9, 0, 0},
	{0.1, 27, 42, 63, 0, 0},
	{0.15, 28, 43, 63.9, 0, 0},
	{0.2, 29, 44, 65, 0, 0},
	{0.25, 30, 46, 66.4, 0, 0},
	{0.275, 31, 46, 68.2, 0.4145, 0},
	{0.3, 32, 47, 72.9, 0.61, 0.1564},
	{0.325, 33, 47, 76.5, 0.8, 0.2479},
	{0.35, 34, 48, 90.4, 0.91, 0.3569},
	{0.375, 35, 48.6, 92.5, 0.96, 0.423},
	{0.4, 36, 49, 94, 0.97, 0.4867},
	{0.425, 37, 50, 95.4, 0.97, 0.5614},
	{0.45, 38, 50, 96.9, 0.97, 0.5948},
	{0.475, 39, 51, 98.8, 0.98, 0.6876},
	{0.5, 40, 51, 101.4, 0.98, 0.7541},
	{0.525, 41, 52, 106.5, 0.98, 0.7667},
	{0.55, 42, 52, 119.8, 0.98, 0.7678},
	{0.575, 43, 53, 128.2, 0.98, 0.7686},
	{0.6, 44, 53, 148.7, 0.99, 0.7693},
	{0.625, 45, 54, 185.1, 0.99, 0.7699},
	{0.65, 47, 55, 236.4, 0.99, 0.7705},
	{0.675, 48, 55, 286.9, 0.99, 0.7713},
	{0.7, 49, 56, 325.3, 0.99, 0.7721},
	{0.725, 50, 56, 353.6, 0.99, 0.7729},
	{0.75, 51, 57, 371.8, 0.99, 0.7738},
	{0.775, 52, 58, 382.3, 1, 0.7753},
	{0.8, 54, 58, 388.7, 1, 0.7769},
	{0.85, 56, 60, 396.7, 1, 0.7893},
	{0.875, 57, 60.1, 400.1, 1, 0.8214},
	{0.9, 58, 61, 403.6, 1, 0.881},
	{0.925, 60, 62, 407.6, 1, 0.888},
	{0.95, 62, 64, 413, 1, 0.9347},
	{0.975, 64, 65, 422.8, 1, 0.9627},
	{0.99, 66, 67, 439.7, 1, 0.9728},
	{0.995, 68, 68, 453.6, 1, 0.9829},
	{0.999, 71, 70, 487.7, 1, 0.9899},
	{1, 79, 80, 599.7, 1, 0.9918},
}

// Package storetest is the suite that every [checkpoint.Store] passes: what a
// store promises, then the same promises while its transport fails, delays,
// cuts off, corrupts and loses replies, or the files beneath it are read wrongly. It imports testing and is for tests.
//
// It does not test how checkpoints are made or restored; package checkpoint
// does.
package storetest

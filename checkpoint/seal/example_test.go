package seal_test

import (
	"fmt"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// A keyring file is opened with the identity of one of its recipients; what it
// seals stays readable when the data key has been rotated.
func ExampleKeyring_Rotate() {
	operator, err := age.GenerateX25519Identity() // or `age-keygen`
	if err != nil {
		panic(err)
	}
	open := func(file []byte) *seal.Keyring {
		k, err := seal.Open(file, strings.NewReader(operator.String()))
		if err != nil {
			panic(err)
		}
		return k
	}
	file, err := seal.New([]string{operator.Recipient().String()}, time.Now())
	if err != nil {
		panic(err)
	}
	old := open(file)
	sealed := old.Seal(nil, []byte("weights"), []byte("what it belongs to"))

	if file, err = old.Rotate(time.Now()); err != nil {
		panic(err)
	}
	young := open(file)
	text, err := young.Open(nil, sealed, []byte("what it belongs to"))
	fmt.Printf("%s %v, %d data keys, the same keyring: %v\n", text, err, young.Keys(), young.Set() == old.Set())
	_, err = young.Open(nil, sealed, []byte("something else"))
	fmt.Println(err != nil)
	// Output:
	// weights <nil>, 2 data keys, the same keyring: true
	// true
}

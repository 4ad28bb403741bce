package checkpoint

import "fmt"

// Seal gives lines the trailer of an object.
func Seal(lines string) string {
	return lines + fmt.Sprintf(`{"length":%d,"crc32c":%q}`, len(lines), checksum([]byte(lines))) + "\n"
}

// Writes an image of one static program, as `ctr images import` reads it, without a registry.
//
//	image PROGRAM REFERENCE OUT.tar
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

type file struct {
	name string
	data []byte
}

func archive(files ...file) ([]byte, error) {
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, file := range files {
		header := &tar.Header{Name: file.name, Size: int64(len(file.data)), Mode: 0o755}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(file.data); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), writer.Close()
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// A blob, and how another blob refers to it.
func blob(kind string, data []byte) (file, map[string]any) {
	sum := sha256.Sum256(data)
	descriptor := map[string]any{
		"mediaType": "application/vnd.oci.image." + kind, "digest": digest(data), "size": len(data),
	}
	return file{fmt.Sprintf("blobs/sha256/%x", sum), data}, descriptor
}

func document(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

func write(program, reference, out string) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	name := filepath.Base(program)
	rootfs, err := archive(file{name, binary})
	if err != nil {
		return err
	}
	layer, ofLayer := blob("layer.v1.tar", rootfs)
	config, ofConfig := blob("config.v1+json", document(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + name}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(rootfs)}},
	}))
	manifest, ofManifest := blob("manifest.v1+json", document(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": ofConfig, "layers": []any{ofLayer},
	}))
	ofManifest["annotations"] = map[string]string{
		"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference,
	}
	index := document(map[string]any{"schemaVersion": 2, "manifests": []any{ofManifest}})
	layout := document(map[string]string{"imageLayoutVersion": "1.0.0"})
	image, err := archive(file{"oci-layout", layout}, file{"index.json", index}, layer, config, manifest)
	if err != nil {
		return err
	}
	return os.WriteFile(out, image, 0o644)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: image PROGRAM REFERENCE OUT.tar")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

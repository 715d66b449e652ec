// Loads a Compose file as `docker compose` does, by the same library, and prints it with every default filled
// in.
//
//	compose FILE
//
// It fails on a key that Compose does not know, on a service, volume, file or variable that is missing, and
// on a port that is published beyond loopback.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
)

// missing keeps the loader's warnings: a variable without a value and a default is one.
type missing struct{ said []string }

func (m *missing) Levels() []logrus.Level { return []logrus.Level{logrus.WarnLevel} }
func (m *missing) Fire(entry *logrus.Entry) error {
	m.said = append(m.said, entry.Message)
	return nil
}

func load(file string) (*types.Project, error) {
	warnings := &missing{}
	logrus.AddHook(warnings)
	options, err := cli.NewProjectOptions([]string{file}, cli.WithOsEnv, cli.WithInterpolation(true))
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	if len(warnings.said) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(warnings.said, "; "))
	}
	for _, service := range project.Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				return nil, fmt.Errorf("service %s publishes port %d to %q: expected 127.0.0.1",
					service.Name, port.Target, port.HostIP)
			}
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				return nil, fmt.Errorf("service %s mounts a path that is not there: %w", service.Name, err)
			}
		}
	}
	return project, nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: compose FILE")
		os.Exit(64)
	}
	project, err := load(os.Args[1])
	if err == nil {
		var text []byte
		if text, err = project.MarshalJSON(); err == nil {
			fmt.Println(string(text))
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "compose: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

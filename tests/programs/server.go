// Plain Go: HTTP on the socket that is there already. SIGTERM: answer what has come, then end.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("Hello, World!"))
	})
	http.HandleFunc("/who", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{
			"slot": os.Getenv("WORKHIVE_SLOT"),
			"fds":  os.Getenv("LISTEN_FDS"),
			"pid":  os.Getenv("LISTEN_PID"),
			"own":  os.Getpid(),
		})
	})
	server := &http.Server{}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		<-told
		server.Shutdown(context.Background())
		close(done)
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-done
}
